"""What the command lines of these scripts have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"


def config_parser(description: str | None, config: str, use: str) -> argparse.ArgumentParser:
    """A parser with `--config` and `--set`.

    Args:
        description: The script's docstring, shown as it is.
        config: File in `configs/` that is taken by default.
        use: What the configuration is for.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIGS / config, help=f"{use} (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration")
    return parser
