"""`python -m kresp3d`, for environments whose scripts are not on the path."""

from kresp3d.cli.main import run

if __name__ == "__main__":
    run()
