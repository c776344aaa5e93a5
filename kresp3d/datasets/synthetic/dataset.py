"""The embedded dataset on disk: rendered videos as H.264 files, a table of them, and a picture to look at.

FOLDER/ACTION/gSS_ACTION_vNN.mp4    one file for each subject, action and take
FOLDER/catalog.csv                  path, label, group and split of each
FOLDER/synthetic.json               renderer and settings; written last, so that it marks a whole dataset
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kresp3d.config.schema import SyntheticConfig
from kresp3d.datasets.splits import Split
from kresp3d.datasets.synthetic.render import ACTIONS, RENDERER, frame_count, frame_size, render_video
from kresp3d.system.errors import KrespError
from kresp3d.system.files import PART, write_csv, write_text, written_aside
from kresp3d.system.machine import count_cores
from kresp3d.system.worker import Team, WorkerDiedError
from kresp3d.video.workers import Progress
from kresp3d.video.write import video_file

__all__ = ["ACTIONS", "contact_sheet", "render_video", "split_subjects", "write_contact_sheet", "write_dataset"]

#: Action, subject and take.
Job = tuple[str, int, int]

#: Of the videos: the same bytes whatever the processor and the number of its cores.
ENCODING = {"crf": "18", "preset": "veryfast", "threads": "1", "x264-params": "cpu-independent=1"}
_MARK = "synthetic.json"
_BEGUN = ".synthetic.json"
_CATALOG = "catalog.csv"


def write_dataset(
    folder: str | Path,
    config: SyntheticConfig,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Render the embedded dataset into a folder, or what of it is not there yet.

    Args:
        folder: Made if missing. A dataset of the same settings, whole or interrupted, is completed; a whole one is left
            as it is.
        config: What to render. The same configuration gives the same pictures on any machine.
        workers: Processes; by default one for each core. 1 renders in this process.
        overwrite: Render anew into a folder that holds another dataset or other files. Files that are not part of an
            embedded dataset are left alone.
        progress: Called in this process with the number of videos done and of all.

    Returns:
        The folder.

    Raises:
        KrespError: If the folder holds something else, or a video cannot be written.
    """
    folder = Path(folder)
    jobs = list(_jobs(config))
    settings = _settings(config)
    begun = _claim(folder, settings, overwrite)
    missing = [job for job in jobs if not (folder / _name(job, config)).is_file()]
    if not missing and not begun and (folder / _CATALOG).is_file():
        return folder
    done = len(jobs) - len(missing)
    if progress:
        progress(done, len(jobs))
    try:
        for _ in _rendered(missing, folder, config, workers or count_cores()):
            done += 1
            if progress:
                progress(done, len(jobs))
        write_csv(folder / _CATALOG, ("path", "label", "group", "split"), _catalog(jobs, config))
        write_text(folder / _MARK, settings)
        (folder / _BEGUN).unlink(missing_ok=True)
        for leftover in folder.glob(f"*/{PART}*"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise KrespError(f"cannot write the embedded dataset to {folder}: {error}") from error
    return folder


def split_subjects(subjects: int) -> tuple[Split, ...]:
    """The split of each subject, from the first on: a quarter test, 15 % validation, spread evenly."""
    splits: list[Split] = ["train"] * subjects
    if subjects > 1:
        for place in _spread(range(subjects), max(1, round(0.25 * subjects))):
            splits[place] = "test"
    rest = [place for place in range(subjects) if splits[place] == "train"]
    if len(rest) > 1:
        for place in _spread(rest, max(1, round(0.15 * subjects))):
            splits[place] = "validation"
    return tuple(splits)


def _spread(places: Sequence[int], count: int) -> list[int]:
    return [places[(2 * k + 1) * len(places) // (2 * count)] for k in range(count)]


def _jobs(config: SyntheticConfig) -> Iterator[Job]:
    for action in ACTIONS:
        for subject in range(1, config.subjects + 1):
            for take in range(1, config.videos_per_class + 1):
                yield action, subject, take


def _group(subject: int, config: SyntheticConfig) -> str:
    return f"g{subject:0{max(2, len(str(config.subjects)))}d}"


def _name(job: Job, config: SyntheticConfig) -> str:
    action, subject, take = job
    digits = max(2, len(str(config.videos_per_class)))
    return f"{action}/{_group(subject, config)}_{action}_v{take:0{digits}d}.mp4"


def _settings(config: SyntheticConfig) -> str:
    return json.dumps({"renderer": RENDERER, **config.model_dump(mode="json")}, indent=2) + "\n"


def _catalog(jobs: Sequence[Job], config: SyntheticConfig) -> Iterator[tuple[str, ...]]:
    splits = split_subjects(config.subjects)
    for job in jobs:
        action, subject, _ = job
        yield _name(job, config), action, _group(subject, config), splits[subject - 1]


def _claim(folder: Path, settings: str, overwrite: bool) -> bool:
    """Make the folder ours; True if something is to be done there even when all videos exist.

    A hidden copy of the settings says, until the dataset is whole, what an interrupted run was rendering.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            for name in (_MARK, _BEGUN):
                if _read_text(folder / name) == settings:
                    return name == _BEGUN
            if not overwrite:
                has = "an embedded dataset of other settings" if _has_dataset(folder) else "other files"
                raise KrespError(
                    f"{folder} holds {has}: give another folder, or overwrite it (--overwrite) to render into it anew"
                )
            _clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / _BEGUN, settings)
    except OSError as error:
        raise KrespError(f"cannot write the embedded dataset to {folder}: {error}") from error
    return True


def _has_dataset(folder: Path) -> bool:
    return (folder / _MARK).is_file() or (folder / _BEGUN).is_file()


def _clear(folder: Path) -> None:
    """Remove the files of an embedded dataset, and nothing else."""
    if _has_dataset(folder):
        # The mark goes first: a dataset that is half removed must not look whole.
        for name in (_MARK, _CATALOG):
            (folder / name).unlink(missing_ok=True)
    for action in ACTIONS:
        for path in (folder / action).glob(f"g*_{action}_v*.mp4"):
            path.unlink()


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _rendered(jobs: Sequence[Job], folder: Path, config: SyntheticConfig, workers: int) -> Iterator[None]:
    """Render and write the videos, yielding after each."""
    render = partial(_render_file, folder=folder, config=config)
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield render(job)
        return
    # Worker processes, not threads: rendering is Python code in large part.
    try:
        with Team(workers, imports=[__name__]) as team:
            yield from team.each(lambda worker, job: worker.run(render, job), jobs)
    except WorkerDiedError:
        raise KrespError("a process that renders videos was ended; the machine may be out of memory") from None


def _render_file(job: Job, folder: Path, config: SyntheticConfig) -> None:
    action, subject, take = job
    path = folder / _name(job, config)
    path.parent.mkdir(exist_ok=True)
    frames = render_video(action, subject=subject, take=take, config=config)
    with video_file(path, config.fps, pixels="yuv420p", options=ENCODING) as add:
        for planes in _yuv420(frames):
            add(planes)


def _yuv420(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB `[T, H, W, 3]` as Y and the half as high and wide Cb and Cr (ITU-R BT.601), packed `[T, H * 3 / 2, W]`.

    In integers, since FFmpeg's own conversion differs between processors.
    """
    red, green, blue = (frames[..., channel].astype(np.int32) for channel in range(3))
    luma = 66 * red + 129 * green + 25 * blue + 128

    def halved(plane: NDArray[np.int32]) -> NDArray[np.int32]:
        return (plane[:, ::2, ::2] + plane[:, 1::2, ::2] + plane[:, ::2, 1::2] + plane[:, 1::2, 1::2] + 2) >> 2

    red, green, blue = halved(red), halved(green), halved(blue)
    blueness = -38 * red - 74 * green + 112 * blue + 128
    redness = 112 * red - 94 * green - 18 * blue + 128
    count, height, width = luma.shape
    planes = ((luma >> 8) + 16, (blueness >> 8) + 128, (redness >> 8) + 128)
    packed = np.concatenate([plane.reshape(count, -1) for plane in planes], axis=1)
    return packed.reshape(count, height * 3 // 2, width).astype(np.uint8)


def contact_sheet(config: SyntheticConfig, *, columns: int = 8, take: int = 1, interval: float = 0.16) -> Image.Image:
    """A picture of the dataset: for each action a row of frames of one video, with its name.

    Args:
        config: The dataset. Each row shows another of its subjects.
        columns: Frames in a row.
        take: The video of that subject.
        interval: Seconds between frames of a row.
    """
    height, width = frame_size(config)
    label, gap = round(1.1 * height), 2
    font = ImageFont.load_default(max(8, round(0.16 * height)))
    sheet = Image.new("RGB", (label + columns * (width + gap), len(ACTIONS) * (height + gap)), "white")
    write = ImageDraw.Draw(sheet)
    last = frame_count(config) - 1
    for row, action in enumerate(ACTIONS):
        video = render_video(action, subject=row % config.subjects + 1, take=take, config=config)
        top = row * (height + gap)
        write.text((6, top + height // 2), action, fill="black", anchor="lm", font=font)
        for column in range(columns):
            frame = video[min(last, round(column * interval * config.fps))]
            sheet.paste(Image.fromarray(frame), (label + column * (width + gap), top))
    return sheet


def write_contact_sheet(path: str | Path, config: SyntheticConfig, *, columns: int = 8, take: int = 1) -> Path:
    """Write `contact_sheet` as a PNG file.

    Raises:
        KrespError: If the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as temporary:
            contact_sheet(config, columns=columns, take=take).save(temporary, format="PNG", optimize=True)
    except OSError as error:
        raise KrespError(f"cannot write the contact sheet {path}: {error}") from error
    return path
