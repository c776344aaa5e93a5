"""Fixtures for all tests: tiny real videos, encoded on the spot."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Example times on a busy machine say nothing about the code.
settings.register_profile("kresp3d", deadline=None, max_examples=50)
settings.load_profile("kresp3d")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out on the second stack what takes long there and could find nothing new."""
    if importlib.util.find_spec("tensorflow_io") is None:
        return
    reason = "takes long and says the same with every TensorFlow: run on the default stack"
    for item in items:
        if item.get_closest_marker("once"):
            item.add_marker(pytest.mark.skip(reason=reason))


def load_file(path: Path) -> Any:
    """Load a module of the tests, whose plain import fails with pytest 8.2 and --import-mode=importlib."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference() -> Any:
    """The paper's method in plain NumPy, `nn/reference.py`."""
    return load_file(Path(__file__).parent / "nn" / "reference.py")


@pytest.fixture(scope="session")
def keras_weights() -> Any:
    """What brings the weights of a Keras network to the reference, `nn/keras_weights.py`."""
    return load_file(Path(__file__).parent / "nn" / "keras_weights.py")


CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".ts": "libx264", ".avi": "mpeg4", ".webm": "libvpx"}
BITS = 8


def counting_frames(count: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Frames uint8 `[count, H, W, 3]` whose eight vertical bars show their number in binary, white for 1."""
    width, height = size
    bar = np.arange(width) * BITS // width
    numbers = np.arange(count)[:, None]
    rows = np.where((numbers >> bar) & 1, 235, 20).astype(np.uint8)
    return np.broadcast_to(rows[:, None, :, None], (count, height, width, 3)).copy()


def number_of(image: np.ndarray) -> int:
    """The number that a picture of `counting_frames` shows."""
    width = image.shape[1]
    centres = (2 * np.arange(BITS) + 1) * width // (2 * BITS)
    levels = image[image.shape[0] // 2, centres].mean(axis=-1)
    return int(((levels > 128) << np.arange(BITS)).sum())


def encode_video(
    path: str | Path,
    frames: int | np.ndarray = 25,
    fps: float = 25,
    size: tuple[int, int] = (64, 48),
    *,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    mirror: bool = False,
    pixel_aspect: Fraction | None = None,
    audio: bool = False,
    codec: str | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode a real video.

    Args:
        path: The file; its suffix chooses the container. Folders are made.
        frames: How many `counting_frames`, or the frames themselves, uint8 `[T, H, W, 3]`.
        fps: Frames per second.
        size: (width, height) in pixels, for a number of frames.
        times: Presentation times in seconds, for a variable frame rate.
        rotation: The turn, in degrees counter-clockwise, that a player applies.
        mirror: Whether a player swaps left and right.
        pixel_aspect: Width over height of a pixel.
        audio: Whether a tone is added.
        codec: FFmpeg's name of the encoder; by default it suits the suffix.
        pix_fmt: FFmpeg's name of the pixel format.
        options: Options of the encoder.
        container_options: Options of the muxer.

    Returns:
        The path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = counting_frames(frames, size) if isinstance(frames, int) else frames
    codec = codec or CODECS[path.suffix.lower()]
    if options is None:
        options = {"preset": "ultrafast", "crf": "18"} if codec == "libx264" else {}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.bit_rate = 2_000_000
        stream.codec_context.thread_count = 1
        if pix_fmt.startswith("gray"):
            # FFmpeg makes grey of the full range, and H.264 has to say so.
            stream.codec_context.color_range = 2
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation or mirror:
            stream.set_display_rotation(rotation, hflip=mirror)
        tone = container.add_stream("aac", rate=16000) if audio else None
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format=pix_fmt)
            if times is not None:
                frame.pts, frame.time_base = round(times[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _add_tone(container, tone, seconds=len(pictures) / fps)
    return path


def _add_tone(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    wave = np.sin(np.arange(int(16000 * seconds)) * 0.2).astype(np.float32)[None] * 0.1
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate, frame.pts = 16000, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """`make_video(path, frames=25, fps=25, size=(64, 48), ...)` encodes a real video; see `encode_video`."""
    return encode_video


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """`free_port()` gives a port of this machine that nobody listens at."""

    def find() -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port: int = server.getsockname()[1]
        return port

    return find


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    """`read_number(image)` tells which frame of a `make_video` with counted frames an image shows."""
    return number_of


@pytest.fixture(scope="session")
def graph_nodes() -> Callable[[Any], list[Any]]:
    """`graph_nodes(concrete_function)` gives all operations of its graph, those of the functions it calls included."""

    def nodes(function: Any) -> list[Any]:
        graph = function.graph.as_graph_def()
        return [*graph.node, *(node for called in graph.library.function for node in called.node_def)]

    return nodes


@pytest.fixture(scope="session")
def make_tree() -> Callable[..., Path]:
    """`make_tree(root, classes, per_class, ...)` encodes a tree `class/video`; further arguments go to `make_video`."""

    def make(root: Path, classes: Sequence[str], per_class: int, suffix: str = ".mp4", **video: object) -> Path:
        for label in classes:
            for index in range(per_class):
                encode_video(root / label / f"{label}_{index}{suffix}", **video)
        return root

    return make


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Configuration values of a training that takes seconds: 24 videos of three classes, told apart by colour.

    The split has 15 training, 3 validation and 6 test videos. To be copied before it is changed.
    """
    folder = tmp_path_factory.mktemp("tiny")
    random = np.random.default_rng(0)
    for channel, label in enumerate(("bend", "jump", "walk")):
        for group in range(8):
            frames = random.integers(0, 60, (16, 40, 48, 3), dtype=np.uint8)
            frames[:, :, 16 * channel : 16 * channel + 16, channel] += 150
            encode_video(folder / "videos" / label / f"g{group:02}_{label}.mp4", frames, fps=15)
    return {
        "name": "tiny",
        "data": {
            "videos": str(folder / "videos"),
            "cache": str(folder / "data"),
            "group_regex": "(g[0-9]+)_",
            "short_side": 32,
            "validation": 0.2,
            "test": 0.25,
            "workers": 1,
        },
        # Nothing is left to be planned.
        "clip": {
            "frame_stride": 1,
            "per_video": 1,
            "augment": {"scales": [1.0, 0.875, 0.75, 0.66], "positions": "corners", "translation": 0, "zoom": 0},
        },
        "model": {
            "frames": 4,
            "size": 16,
            "width": 4,
            "blocks": [1],
            "stem_pool": False,
            "fc1": 8,
            "dropout": 0.2,
        },
        "training": {
            "epochs": 2,
            "batch_size": 4,
            "optimizer": "sgd",
            "learning_rate": 0.05,
            "warmup_epochs": 0.5,
            "weight_decay": 1e-4,
            "ema": None,
            "precision": "float32",
            "keep": "best",
        },
        "evaluation": {"clips": 2, "batch_size": 4},
    }


@pytest.fixture(scope="session")
def trained_run(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that `kresp3d train` made of `tiny_config`; to be copied before it is changed."""
    from kresp3d.cli.main import main

    folder = tmp_path_factory.mktemp("trained")
    values = {
        **tiny_config,
        # Decoded each time, as the videos of a large dataset are; other tests hold theirs in memory.
        "data": {**tiny_config["data"], "memory": 0},
        # So many that the classes are far apart, and an int8 network has the same best ones.
        "clip": {
            **tiny_config["clip"],
            "per_video": 16,
            "augment": {**tiny_config["clip"]["augment"], "scales": [1.0]},
        },
        "model": {**tiny_config["model"], "fc1": 16},
        "training": {**tiny_config["training"], "epochs": 6, "learning_rate": 0.1},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    assert main(["train", "--config", str(folder / "tiny.yaml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def exported_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `kresp3d export` made of `trained_run`: every installed format, of LiteRT int8 alone."""
    from kresp3d.cli.main import main

    folder = tmp_path_factory.mktemp("exported")
    assert main(["export", str(trained_run), "--quantize", "int8", "--to", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def read_events() -> Callable[[Path], dict[str, list[tuple[int, Any]]]]:
    """`read_events(folder)` gives all that TensorBoard's event files hold: tag -> steps and values, by step.

    A value is a number of a curve, the PNG of a picture, an array `[buckets, 3]` of a histogram.
    """

    def read(folder: Path) -> dict[str, list[tuple[int, Any]]]:
        import tensorflow as tf

        found: dict[str, list[tuple[int, Any]]] = {}
        for path in folder.glob("events.*"):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                for value in event.summary.value:
                    array = tf.make_ndarray(value.tensor)
                    plugin = value.metadata.plugin_data.plugin_name
                    readers = {"scalars": float, "images": lambda parts: parts[2], "histograms": np.asarray}
                    if plugin in readers:
                        found.setdefault(value.tag, []).append((event.step, readers[plugin](array)))
        # The names of files that were begun in the same second do not say which came first.
        return {tag: sorted(points, key=lambda point: point[0]) for tag, points in found.items()}

    return read
