"""How fast `kresp3d data prepare` makes pictures of videos, beside a plain loop that does no more than that.

    python scripts/bench/prepare.py --config configs/base.yaml --set data.fps=25

The loop decodes with PyAV, converts each frame to the short side of the configuration, encodes it as JPEG and writes it
to one file, in one thread. `prepare` also resamples to `data.fps` (frames that are left out would not be encoded: give
the videos' own rate), checks the videos for damage, writes records that can be read at any place, and takes all cores.
It starts with no records each time; its worker processes' start is counted. The two take turns.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
from arguments import config_parser
from turns import Measured, Turn, cpu_name, print_rates

from kresp3d.config.schema import DataConfig, load_config
from kresp3d.datasets.catalog import load_catalog
from kresp3d.datasets.source import resolve_videos
from kresp3d.records.prepare import prepare
from kresp3d.system.quiet import quieten
from kresp3d.video.decode import fit_short_side
from kresp3d.video.jpeg import encode_jpeg


def main() -> None:
    parser = config_parser(__doc__, "base.yaml", "of the videos")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    quieten()
    config = resolve_videos(load_config(options.config, options.set).data)
    contenders: dict[str, Callable[[DataConfig, Path], int]] = {"prepare": records, "loop": loop}
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    pictures = {}
    for _ in range(options.rounds):
        for name, work in contenders.items():
            with tempfile.TemporaryDirectory() as folder:
                wall, cpu = time.perf_counter(), cpu_time()
                pictures[name] = work(config, Path(folder) / "pictures")
                turns[name].append(Turn(time.perf_counter() - wall, cpu_time() - cpu))
    measured = {name: Measured(taken, None) for name, taken in turns.items()}

    print(f"{cpu_name()}, {options.rounds} rounds of {len(load_catalog(config).videos)} videos\n")
    print_rates("pictures", measured, pictures, "loop")


def records(config: DataConfig, folder: Path) -> int:
    """The number of pictures that `prepare` makes."""
    return sum(video.frames for video in prepare(config.model_copy(update={"records": str(folder)})).videos)


def loop(config: DataConfig, path: Path) -> int:
    """The number of pictures that a plain loop makes."""
    count = 0
    with path.open("wb") as file:
        for video in load_catalog(config).videos:
            with av.open(str(video.path)) as container:
                for frame in container.decode(video=0):
                    width, height = fit_short_side(frame.width, frame.height, config.short_side)
                    picture = frame.to_ndarray(format="rgb24", width=width, height=height)
                    file.write(encode_jpeg(picture, config.jpeg_quality))
                    count += 1
    return count


def cpu_time() -> float:
    """Seconds of this process and of those of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
