"""Look for input that kresp3d answers with anything but a sentence of its own, guided by which code the input reaches.

    pip install -e . atheris
    python scripts/fuzz.py config --seconds 300 --corpus /tmp/fuzz/config

Stops at the first such input, shows the traceback, and keeps the input as `crash-…` in the working folder. What was
found is in `tests/fuzz/test_found.py`. Each target begins with a good input, so that it is soon beyond the first check.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with atheris.instrument_imports(include=["kresp3d", "yaml", "csv"]):
    from kresp3d.config.schema import DataConfig, load_config
    from kresp3d.datasets.catalog import load_catalog
    from kresp3d.records.index import COLUMNS, read_index
    from kresp3d.system.errors import KrespError

Target = Callable[[bytes], None]


def config(folder: Path) -> tuple[Target, list[bytes]]:
    """A configuration file."""
    path = folder / "config.yaml"
    (folder / "base.yaml").write_text("name: parent\n")

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load_config(path)

    seeds = [file.read_bytes() for file in sorted(Path("configs").rglob("*.yaml"))]
    return run, [*seeds, b"extends: base.yaml\ndata: &a {fps: 1e3, classes: [a, b]}\nx: *a\n"]


def catalog(folder: Path) -> tuple[Target, list[bytes]]:
    """A CSV file of videos."""
    path = folder / "videos.csv"
    names = [f"v{number}.mp4" for number in range(8)]
    for name in names:
        (folder / name).touch()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load_catalog(DataConfig(videos=str(path), group_regex=None))

    rows = [f"{name},{'run' if number % 2 else 'walk'},g{number // 2}," for number, name in enumerate(names)]
    header = "path,label,group,split"
    return run, ["\n".join([header, *rows]).encode(), f'{header}\nv0.mp4,"ru""n",,train\nv1.mp4,walk,,TEST\n'.encode()]


def records(folder: Path) -> tuple[Target, list[bytes]]:
    """The index and the table of a records folder, apart by a zero byte."""
    (folder / "shard-00000.tfrecord").write_bytes(bytes(100))
    index = {
        "format": 1,
        "videos": 2,
        "classes": ["run", "walk"],
        "settings": {"fps": 15.0},
        "shards": {"shard-00000.tfrecord": 100},
    }
    rows = [
        "a.mp4,run,g1,train,45,96,128,shard-00000.tfrecord,0,50",
        "b.mp4,walk,,test,45,96,128,shard-00000.tfrecord,50,50",
    ]

    def run(data: bytes) -> None:
        first, _, second = data.partition(b"\0")
        (folder / "index.json").write_bytes(first)
        (folder / "videos.csv").write_bytes(second)
        for video in read_index(folder).videos:
            # What the pipeline takes for granted.
            assert video.frames > 0 and video.height > 0 and video.width > 0, video
            assert video.offset >= 0 and video.length >= 0, video
            assert video.split in ("train", "validation", "test"), video

    return run, [json.dumps(index).encode() + b"\0" + "\n".join([",".join(COLUMNS), *rows]).encode()]


def example(folder: Path) -> tuple[Target, list[bytes]]:
    """An entry of a record: the features of a video and its pictures."""
    import numpy as np
    import tensorflow as tf

    from kresp3d.records.format import DAMAGE, ShardWriter, parse_record, read_record
    from kresp3d.video.jpeg import encode_jpeg

    class Video:
        name, label, group, split = "a.mp4", "run", "g1", "train"

    picture = encode_jpeg(np.zeros((8, 8, 3), np.uint8), 90)
    with ShardWriter(folder / "shard.tfrecord") as shard:
        shard.add(Video(), [picture, picture], fps=15, height=8, width=8)

    def run(data: bytes) -> None:
        # What `damage_named` turns into a sentence.
        with contextlib.suppress(*DAMAGE):
            for jpeg in parse_record(tf.constant(data))["frames"].numpy()[:4]:
                tf.image.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")

    return run, [read_record(tf.constant(str(folder / "shard.tfrecord")), tf.constant(0, tf.int64)).numpy()]


TARGETS = {target.__name__: target for target in (config, catalog, records, example)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--corpus", type=Path, required=True, help="folder where inputs that reach new code are kept")
    options = parser.parse_args()

    options.corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        run, seeds = TARGETS[options.target](Path(name))
        for number, seed in enumerate(seeds):
            (options.corpus / f"seed-{number}").write_bytes(seed)

        def test(data: bytes) -> None:
            try:
                run(data)
            except KrespError as error:
                if not str(error).strip() or len(str(error)) > 4000:
                    raise AssertionError(f"no sentence for a person: {str(error)[:500]!r}") from error

        limits = [f"-max_total_time={options.seconds}", "-max_len=6000", "-timeout=10", "-rss_limit_mb=6000"]
        atheris.Setup([sys.argv[0], *limits, str(options.corpus)], test)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
