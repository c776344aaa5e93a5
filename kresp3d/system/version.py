"""The version of kresp3d."""

from __future__ import annotations

import subprocess
from pathlib import Path

__version__ = "0.1.0"


def described_version() -> str:
    """Return the version, and of a clone its commit too, such as `0.1.0 (commit 1a2b3c4, with changes)`."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return __version__

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "kresp3d", "configs")
    except (OSError, subprocess.CalledProcessError):
        # No git here, or a clone that it will not read.
        return __version__
    return f"{__version__} (commit {commit}{', with changes' if changed else ''})"
