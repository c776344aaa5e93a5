"""`kresp3d tune` with trainings that take a moment and note that they were run. For `test_cluster.py`.

Of the command line all is real: the chief, the workers and what they say to each other over the network.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from kresp3d.cli import tune
from kresp3d.cli.main import main
from kresp3d.experiments.tuning.journal import Outcome
from kresp3d.experiments.tuning.trial import TrialRunner


def run(self, trial, settings, past=None, until=None):
    with Path(os.environ["MEMBER_NOTES"]).open("a") as notes:
        notes.write(f"{trial} {os.environ['KERASTUNER_TUNER_ID']}\n")
    time.sleep(float(os.environ["MEMBER_SECONDS"]))
    return Outcome("done", (0.5,), epochs=1, seconds=0.1)


TrialRunner.run = run
tune._prepare = lambda config: None
sys.exit(main(sys.argv[1:]))
