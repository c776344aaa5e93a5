"""How many training clips a second come out of the records, and out of videos that are decoded each time.

    pip install -e . opencv-python-headless decord2
    python scripts/bench/input_pipeline.py --config configs/base.yaml

Everybody gives the clips that the network is trained on, `frames + step` frames of `size` × `size` pixels at the
configuration's rate, from random videos and places. Ours are those of `kresp3d train`, augmentation included. The
others do the least that a program can which keeps no records: open the video, seek, decode up to the last frame,
convert those of the clip at the size that is needed, and crop the centre; two at a time, in threads. They take turns,
as `turns.py` says.

With `--wait`, training steps on clips from the records take turns with steps on one batch that is held in memory: what
is left of the difference is what training waits for, or gives up to, the input.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from arguments import config_parser
from turns import Work, cpu_name, print_rates, take_turns

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.config.schema import Config, load_config
from kresp3d.datasets.catalog import Video, load_catalog
from kresp3d.datasets.source import resolve_videos
from kresp3d.records.prepare import prepare

#: Reads the frames of a clip: from a path, the times of the frames in seconds (from 0 to 1, the earliest and the latest
#: place in the video) and the size, to uint8 `[frames, size, size, 3]`.
Reader = Callable[[str, float, np.ndarray, int], np.ndarray]


def main() -> None:
    parser = config_parser(__doc__, "base.yaml", "of the videos and clips")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, after two that are not counted")
    parser.add_argument("--clips", type=int, default=64, help="clips in a turn (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=READERS, help="leave out the others but PyAV")
    parser.add_argument("--wait", action="store_true", help="compare training steps, not readers")
    options = parser.parse_args()

    config = load_config(options.config, options.set)
    prepare(config.data)
    print(f"{cpu_name()}, {options.rounds} rounds of {options.clips} clips\n")
    if options.wait:
        steps = max(1, options.clips // config.training.batch_size)
        measured = take_turns(
            {source: partial(_train, config, source == "records", steps) for source in ("records", "memory")},
            options.rounds,
        )
        print_rates("clips", measured, dict.fromkeys(measured, options.clips), "memory")
        return
    names = [name for name in READERS if not options.only or name in (*options.only, "PyAV")]
    contenders = {"records": partial(_records, config, options.clips)}
    contenders |= {name: partial(_videos, config, options.clips, name) for name in names}
    measured = take_turns(contenders, options.rounds)
    print_rates("clips", measured, dict.fromkeys(measured, options.clips), "PyAV")


def _records(config: Config, clips: int) -> Work:
    from kresp3d.records.pipeline import training_dataset

    records = prepare(config.data)
    dataset = training_dataset(records.split("train"), records.folder, records.classes, config)
    batches = dataset.take(clips // config.training.batch_size)

    def read() -> None:
        for _ in batches:
            pass

    return read


def _train(config: Config, from_records: bool, steps: int) -> Work:
    import keras
    import tensorflow as tf

    from kresp3d.nn import P3DResNet
    from kresp3d.records.pipeline import training_dataset
    from kresp3d.training.compiled import compile_model

    records = prepare(config.data)
    keras.config.set_dtype_policy(config.training.precision)
    network = P3DResNet(classes=len(records.classes), **dict(config.model))
    model = compile_model(network, config.training, len(records.classes), steps=100)
    model.make_train_function()
    dataset = training_dataset(records.split("train"), records.folder, records.classes, config)
    batches = iter(dataset if from_records else tf.data.Dataset.from_tensors(next(iter(dataset))).repeat())

    def train() -> None:
        for _ in range(steps):
            model.train_function(batches)

    return train


def _videos(config: Config, clips: int, name: str) -> Work:
    videos = load_catalog(resolve_videos(config.data)).split("train")
    form, read, draw = ClipFormat.of(config), READERS[name], random.Random(0)
    times = np.arange(form.length) * form.frame_stride / config.data.fps
    pool = ThreadPoolExecutor(2)

    def clip(video: Video) -> np.ndarray:
        frames = read(str(video.path), draw.random(), times, form.size)
        if frames.shape != form.shape:
            raise ValueError(f"{name}: expected {form.shape}, received {frames.shape}")
        return frames

    def work() -> None:
        for _ in pool.map(clip, draw.choices(videos, k=clips)):
            pass

    return work


def _indices(place: float, times: np.ndarray, rate: float, count: int) -> np.ndarray:
    """The frames of a clip, in a video of `count` at `rate` a second; a short one is looped."""
    offsets = np.rint(times * rate).astype(int)
    return (int(place * max(0, count - offsets[-1] - 1)) + offsets) % count


def _pyav(path: str, place: float, times: np.ndarray, size: int) -> np.ndarray:
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        rate, base = float(stream.average_rate), float(stream.time_base)
        wanted = _indices(place, times, rate, stream.frames)
        container.seek(int(min(wanted) / rate / base), stream=stream)
        found: dict[int, np.ndarray] = {}
        for frame in container.decode(stream):
            number = round(frame.pts * base * rate)
            if number in wanted:
                width = round(frame.width * size / frame.height)
                found[number] = frame.to_ndarray(format="rgb24", width=width, height=size)
            if number >= max(wanted):
                break
    return np.stack([_centre(found[number], size) for number in wanted])


def _opencv(path: str, place: float, times: np.ndarray, size: int) -> np.ndarray:
    import cv2

    video = cv2.VideoCapture(path)
    rate, count = video.get(cv2.CAP_PROP_FPS), int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = _indices(place, times, rate, count)
    video.set(cv2.CAP_PROP_POS_FRAMES, int(min(wanted)))
    found: dict[int, np.ndarray] = {}
    for number in range(min(wanted), max(wanted) + 1):
        video.grab()
        if number in wanted:
            _, frame = video.retrieve()
            width = round(frame.shape[1] * size / frame.shape[0])
            small = cv2.resize(frame, (width, size), interpolation=cv2.INTER_AREA)
            found[number] = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    return np.stack([_centre(found[number], size) for number in wanted])


def _decord(path: str, place: float, times: np.ndarray, size: int) -> np.ndarray:
    import decord

    whole = decord.VideoReader(path, num_threads=1)
    height, width, _ = whole[0].shape
    video = decord.VideoReader(path, width=round(width * size / height), height=size, num_threads=1)
    wanted = _indices(place, times, video.get_avg_fps(), len(video))
    return np.stack([_centre(frame, size) for frame in video.get_batch(wanted.tolist()).asnumpy()])


def _centre(frame: np.ndarray, size: int) -> np.ndarray:
    left = (frame.shape[1] - size) // 2
    return frame[:, left : left + size]


#: What decodes videos each time, by its name in the table.
READERS: dict[str, Any] = {"PyAV": _pyav, "OpenCV": _opencv, "decord": _decord}


if __name__ == "__main__":
    main()
