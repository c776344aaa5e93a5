"""Trains one network twice, deterministically: in one go, and with breaks; and again twice in a further phase.

Run by `test_resume.py`.

Determinism is switched on for a whole process, so this has one of its own.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

from kresp3d.config.schema import load_config, override_config
from kresp3d.records.prepare import prepare
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training import callbacks
from kresp3d.training.session import train


def interrupt_after(steps: int) -> None:
    """Press Ctrl-C after so many steps of the next training."""
    left, original = steps, callbacks.NanStop.on_train_batch_end

    def counted(self, batch, logs=None):
        nonlocal left
        left -= 1
        if left == 0:
            callbacks.NanStop.on_train_batch_end = original
            signal.raise_signal(signal.SIGINT)
        original(self, batch, logs)

    callbacks.NanStop.on_train_batch_end = counted


def main() -> None:
    # Ignored, if the tests run in a script's background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config = load_config(sys.argv[1])
    folder = Path(sys.argv[2])
    records = prepare(config.data)

    train(RunFolder.create(folder / "whole", config), records)
    run = RunFolder.create(folder / "parts", config)
    # In the middle of the second epoch of 30 steps.
    interrupt_after(45)
    try:
        train(run, records)
    except KeyboardInterrupt:
        print("rows when interrupted:", len(run.history_file.read_text().splitlines()) - 1)
    print("stopped after epoch", train(run, records, resume=True, until=2).epoch)
    train(run, records, resume=True)

    # 24 steps an epoch, not 30.
    changes = ["training.epochs=6", "training.learning_rate=0.02", "training.batch_size=5", "clip.augment.flip=false"]
    further = RunFolder(shutil.copytree(folder / "whole", folder / "further"))
    train(further, records, resume=True, config=further.check_config(override_config(config, changes, "the test")))
    parts = RunFolder(shutil.copytree(folder / "whole", folder / "further-parts"))
    # Before an epoch of the phase is finished, then in its second one.
    config = parts.check_config(override_config(config, changes, "the test"))
    for steps in (7, 31):
        interrupt_after(steps)
        try:
            train(parts, records, resume=True, config=config)
        except KeyboardInterrupt:
            # As a new process has it, and without being told anew.
            parts, config = RunFolder(parts.path), None
    train(parts, records, resume=True)


if __name__ == "__main__":
    main()
