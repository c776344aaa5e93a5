"""`kresp3d ARGUMENTS`, as one of several workers, which notes its weights after each epoch. Run by `test_workers.py`.

python worker.py FILE ARGUMENTS
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from kresp3d.cli.main import main
from kresp3d.training.callbacks import EpochEnd


def main_with_notes() -> int:
    file = Path(sys.argv.pop(1))
    on_epoch_end = EpochEnd.on_epoch_end

    def note(self, epoch, logs=None):
        weights = b"".join(values.tobytes() for values in self.network.get_weights())
        with file.open("a") as lines:
            lines.write(f"{epoch + 1} {hashlib.sha256(weights).hexdigest()}\n")
        on_epoch_end(self, epoch, logs)

    EpochEnd.on_epoch_end = note
    return main()


if __name__ == "__main__":
    sys.exit(main_with_notes())
