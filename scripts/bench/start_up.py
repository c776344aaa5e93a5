"""Where the time goes in which `kresp3d predict` names the action in one short video.

    pip install -e ".[export]"
    python scripts/bench/start_up.py runs/base saved_models/base/base.xml --video data/synthetic-…/walk/….mp4

Each network is opened, and the video scored, in a new process, the networks by turns; medians of the rounds. Seconds
are those of all threads together, which depend less on what else runs than those of the clock; these are given for the
whole command, from start to end.

    import    of Python's packages
    load      the network from its file
    compile   what the first batch takes longer than the second
    decode    the video, and cut its clips
    run       the network on all clips
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import cpu_name

STAGES = ("import", "load", "compile", "decode", "run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=Path, help="run folders or exported networks")
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stages", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stages:
        print(json.dumps(stages(options.networks[0], options.video)))
        return

    rows: dict[Path, list[list[float]]] = {network: [] for network in options.networks}
    for _ in range(options.rounds):
        for network in options.networks:
            command = [sys.executable, __file__, str(network), "--video", str(options.video), "--stages"]
            split = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            begin = time.perf_counter()
            command = [sys.executable, "-m", "kresp3d", "predict", str(network), str(options.video)]
            subprocess.run(command, check=True, capture_output=True)
            rows[network].append([*split, time.perf_counter() - begin])
    print(f"{cpu_name()}, {options.rounds} rounds\n")
    print(f"| | {' | '.join(STAGES)} | together | the command, by the clock |")
    print(f"|---|{'---:|' * (len(STAGES) + 2)}")
    for network, times in rows.items():
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        columns = [*medians[:-1], sum(medians[:-1]), medians[-1]]
        print(f"| `{network.name}` | {' | '.join(f'{value:.2f} s' for value in columns)} |")


def stages(network: Path, video: Path) -> list[float]:
    """CPU seconds of each of `STAGES` in this process."""
    taken = [time.process_time()]

    def lap(work: Callable[[], Any]) -> Any:
        result = work()
        taken.append(time.process_time())
        return result

    lap(lambda: _import(network))
    from kresp3d.inference.open_engine import open_engine
    from kresp3d.records.video_clips import video_clips
    from kresp3d.video.decode import iter_frames

    engine = lap(lambda: open_engine(network))
    form = engine.info.clip
    frames = iter_frames(video, fps=form.fps, short_side=form.short_side)
    clips = lap(lambda: video_clips(frames, form, clips=engine.info.clips))
    lap(lambda: engine.probabilities(clips))
    lap(lambda: engine.probabilities(clips))
    importing, load, decode, first, run = (end - begin for begin, end in itertools.pairwise(taken))
    return [importing, load, first - run, decode, run]


def _import(network: Path) -> None:
    from kresp3d.system.quiet import quieten

    quieten()
    import kresp3d.inference.predictor

    if (network / "config.yaml").is_file():
        import kresp3d.inference.keras_engine
    elif network.suffix == ".xml":
        import kresp3d.inference.openvino_engine
    elif network.suffix == ".onnx":
        import kresp3d.inference.onnx_engine
    elif network.suffix == ".tflite":
        import kresp3d.inference.litert_engine
    else:
        import kresp3d.inference.saved_model_engine  # noqa: F401


if __name__ == "__main__":
    main()
