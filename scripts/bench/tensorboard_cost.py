"""How much of a training's CPU time goes into what TensorBoard shows.

    python scripts/bench/tensorboard_cost.py --config configs/base.yaml --until 10

The CPU time is that of all threads of the process, so it depends less than the clock on what else runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from kresp3d.config.schema import load_config
from kresp3d.datasets.source import resolve_videos
from kresp3d.records.prepare import prepare
from kresp3d.runs.run_folder import RunFolder
from kresp3d.training import tensorboard
from kresp3d.training.explanations import ExplainedClips
from kresp3d.training.session import train

#: What is timed -> its name in the table.
PARTS = {
    (tensorboard.TensorBoardLog, "on_train_begin"): "before the first epoch, with the graph",
    (tensorboard.TensorBoardLog, "on_epoch_end"): "after the epochs, with what follows",
    (ExplainedClips, "log"): "attention and Grad-CAM",
    (tensorboard, "encode"): "confusion matrices",
}


def timed(owner: Any, name: str, spent: dict[str, float], title: str) -> None:
    """Replace a function by one that adds its CPU seconds to `spent[title]`."""
    function: Callable[..., Any] = getattr(owner, name)

    def measured(*arguments: Any, **keywords: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments, **keywords)
        finally:
            spent[title] = spent.get(title, 0.0) + time.process_time() - began

    setattr(owner, name, measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/base.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--until", type=int, default=10, metavar="EPOCH")
    options = parser.parse_args()
    config = load_config(options.config, options.set)
    records = prepare(resolve_videos(config.data))
    spent: dict[str, float] = {}
    for (owner, name), title in PARTS.items():
        timed(owner, name, spent, title)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder) / "run", config)
        began = time.process_time()
        train(run, records, until=options.until, console=Console())
        whole = time.process_time() - began
    print(f"{'the whole training':40} {whole:8.1f} s")
    for title, seconds in spent.items():
        print(f"{title:40} {seconds:8.2f} s {100 * seconds / whole:5.1f} %")


if __name__ == "__main__":
    main()
