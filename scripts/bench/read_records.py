"""How fast records are read, whole and in random order, from several places that take turns.

    python scripts/bench/read_records.py data/records/base s3://bucket/records

Each place is a records folder; two of the same records tell what an object store costs beside a disk. Nothing is
decoded. What the system holds in memory of a file it has read counts, as in the second epoch of a training.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import tensorflow as tf
from turns import Work, cpu_name, print_rates, take_turns

from kresp3d.records.format import read_record
from kresp3d.records.index import read_index
from kresp3d.records.video_table import VideoTable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, after two that are not counted")
    parser.add_argument("--videos", type=int, default=200, help="read in a turn (default: %(default)s)")
    options = parser.parse_args()

    contenders = {folder: partial(_reader, folder, options.videos) for folder in options.folders}
    measured = take_turns(contenders, options.rounds)
    print(f"{cpu_name()}, {options.rounds} rounds of {options.videos} videos\n")
    print_rates("videos", measured, dict.fromkeys(measured, options.videos), options.folders[0])


def _reader(folder: str, count: int) -> Work:
    records = read_index(folder)
    videos = VideoTable.of(records.videos, records.folder, records.classes)
    size = np.mean([record.length for record in records.videos]) / 1e3
    print(f"{folder}: {len(videos)} videos of {size:.0f} kB", flush=True)
    order = tf.data.Dataset.from_tensor_slices(np.random.default_rng(0).permutation(len(videos))).repeat()
    lengths = order.map(lambda row: _length(videos, row), num_parallel_calls=tf.data.AUTOTUNE)
    iterator = iter(lengths.prefetch(tf.data.AUTOTUNE))

    def read() -> None:
        for _ in range(count):
            next(iterator)

    return read


def _length(videos: VideoTable, row: tf.Tensor) -> tf.Tensor:
    video = videos.at(row)
    return tf.strings.length(read_record(video.shard, video.offset))


if __name__ == "__main__":
    main()
