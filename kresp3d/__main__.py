"""`python -m kresp3d`, for environments whose scripts are not on the path."""

import sys

from kresp3d.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
