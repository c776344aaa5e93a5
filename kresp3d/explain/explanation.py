"""What a network sees in a video: scores, attention and Grad-CAM of clips that slide over it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.clips.sampling import clip_indices, uniform_starts
from kresp3d.explain.attention import AttentionGates, Weight, stage_weights
from kresp3d.explain.grad_cam import GradCam
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.video.workers import Progress

#: Stage -> part -> weight of its channels.
Weights = dict[str, dict[str, Weight]]

#: By default a clip begins after so large a share of the one before.
HOP = 1 / 4


def open_run(path: Path) -> RunFolder:
    """Open the folder of a run.

    Raises:
        KrespError: If it is an exported network, whose inside cannot be looked at, or nothing of ours.
    """
    if path.exists() and not (path / "config.yaml").is_file():
        raise KrespError(
            f"{path} is no run folder; expected one made by `kresp3d train` (runs/NAME), since exported networks "
            "keep neither gradients nor attention masks to look at"
        )
    return RunFolder.open(path)


@dataclass(frozen=True)
class Watched:
    """What a network says of the clips of one video.

    Attributes:
        frames: Frames of the video at the network's rate.
        form: How clips are cut.
        labels: The classes.
        starts: int64 `[N]`, first frame of each clip, not decreasing.
        scores: float32 `[N, classes]`, softmax scores of each clip.
        weights: The attention of each clip; empty without attention.
    """

    frames: int
    form: ClipFormat
    labels: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    weights: tuple[Weights, ...]

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Scores of the video, `[classes]`: the clips' mean, as `kresp3d predict` has it."""
        mean: npt.NDArray[np.float64] = self.scores.astype(np.float64).mean(axis=0)
        return mean

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """The middle of each clip in seconds, `[N]`, within the video."""
        last = np.minimum(self.starts + self.form.span, self.frames) - 1
        return np.asarray((self.starts + last) / 2 / self.form.fps)

    @property
    def seconds(self) -> float:
        """When the last frame is shown."""
        return (self.frames - 1) / self.form.fps

    def nearest(self, frame: int) -> int:
        """The clip whose middle is nearest to a frame."""
        return int(np.argmin(np.abs(self.times - frame / self.form.fps)))

    def later(self, frame: int) -> tuple[int, int]:
        """A frame and the one that its residual is taken with, as the network does.

        A video shorter than a clip is looped. In a longer one, the last frames have no later one, and the last that has
        stands for them. In one that is hardly longer, with a stride, some frames are in no clip; their later one is as
        far.
        """
        reach = self.form.step * self.form.frame_stride
        if self.frames < self.form.span:
            return frame, (frame + reach) % self.frames
        frame = min(frame, self.frames - 1 - reach)
        return frame, frame + reach


class Explainer:
    """Looks at videos with the network of a run.

    Args:
        run: A run with a trained network.

    Raises:
        KrespError: If there is none.
    """

    def __init__(self, run: RunFolder) -> None:
        self.engine = KerasEngine(run)
        network = load_network(run)
        self.cam = GradCam(network)
        self.gates = AttentionGates(network)
        self.model = run.config.model

    def watch(self, video: npt.NDArray[np.uint8], clips: int | None, progress: Progress) -> Watched:
        """Score the clips of a video and read their attention.

        Args:
            video: uint8 `[N, S, S, 3]`, as `small_video` gives it.
            clips: Number of clips, evenly spread; `None`: so many that each begins a quarter of a clip after the last.
            progress: Called with the number of clips done and of all.
        """
        form = self.engine.info.clip
        starts = uniform_starts(len(video), form.span, clips or enough_clips(len(video), form.span))
        scores: list[npt.NDArray[np.float32]] = []
        weights: list[Weights] = []
        size = self.engine.batch_size
        for first in range(0, len(starts), size):
            batch = _cut(video, starts[first : first + size], form)
            scores.append(self.engine.probabilities(batch))
            masks = self.gates(batch)
            weights += [
                stage_weights({block: {k: m[i : i + 1] for k, m in parts.items()} for block, parts in masks.items()})
                for i in range(len(batch))
            ]
            progress(first + len(batch), len(starts))
        return Watched(len(video), form, self.engine.info.labels, starts, np.concatenate(scores), tuple(weights))

    def heat(
        self, video: npt.NDArray[np.uint8], watched: Watched, label: int, shown: Sequence[int]
    ) -> Iterator[npt.NDArray[np.float32] | None]:
        """Grad-CAM for one class on frames of a video: the mean over the clips that hold the frame.

        Only as many maps as overlap are held, and only clips that hold a frame which is shown are computed.

        Args:
            video: As for `watch`.
            watched: What `watch` gave.
            label: The class.
            shown: Frames, in increasing order.

        Yields:
            For each of them float32 `[S, S]` in [0, 1], each clip relative to its own strongest place; `None` where no
            clip holds the frame.
        """
        form = watched.form
        starts = watched.starts
        # The first frame shown at or after a clip's first lies in the clip.
        following = np.searchsorted(shown, starts)
        frames = np.append(shown, np.iinfo(np.int64).max)
        needed = starts[frames[following] - starts < form.span]
        held: list[tuple[int, npt.NDArray[np.float32]]] = []
        done = 0
        for frame in shown:
            while done < len(needed) and needed[done] <= frame:
                some = needed[done : done + self.engine.batch_size]
                maps = self.cam(_cut(video, some, form), np.full(len(some), label))
                held += zip(some.tolist(), maps, strict=True)
                done += len(some)
            held = [clip for clip in held if frame < clip[0] + form.span]
            yield frame_heat([clip for clip in held if clip[0] <= frame], frame, form.frame_stride)


def enough_clips(frames: int, span: int) -> int:
    """Clips of `span` frames so that each begins at most a quarter of a clip after the one before."""
    return math.ceil(max(frames - span, 0) / max(1, round(span * HOP))) + 1


def frame_heat(
    clips: Sequence[tuple[int, npt.NDArray[np.float32]]], frame: int, stride: int
) -> npt.NDArray[np.float32] | None:
    """The heat on a frame, from the maps of the clips around it.

    Between two frames of a clip the heat is interpolated. The last frames of a clip serve the residual alone and have
    no map; where no clip has a map for `frame`, the last map of the last clip stays.

    Args:
        clips: First frame and map `[T, S, S]` of each clip that holds the frame, in order.
        frame: Number of the frame in the video.
        stride: Frame stride of the clips.

    Returns:
        float32 `[S, S]`, or `None` without clips.
    """
    found = []
    for start, maps in clips:
        place, rest = divmod(frame - start, stride)
        if place < len(maps) - 1:
            found.append(maps[place] + (maps[place + 1] - maps[place]) * np.float32(rest / stride))
        elif place == len(maps) - 1 and rest == 0:
            found.append(maps[place])
    if found:
        mean: npt.NDArray[np.float32] = np.mean(found, axis=0, dtype=np.float32)
        return mean
    return clips[-1][1][-1] if clips else None


def pooled(weights: Sequence[Weights]) -> Weights:
    """The weights of several clips of one network as one: mean and spread over all their channels."""

    def pool(single: Sequence[Weight]) -> Weight:
        means = np.array([weight.mean for weight in single])
        spreads = np.array([weight.spread for weight in single])
        # All clips have equally many channels, so the variance is that within plus that between them.
        return Weight(float(means.mean()), float(np.sqrt((spreads**2).mean() + means.var())))

    if not weights:
        return {}
    return {
        stage: {part: pool([clip[stage][part] for clip in weights]) for part in parts}
        for stage, parts in weights[0].items()
    }


def find_label(labels: Sequence[str], name: str) -> int:
    """The number of a class.

    Raises:
        UsageError: If there is none of that name.
    """
    if name in labels:
        return labels.index(name)
    near = difflib.get_close_matches(name, labels, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"expected one of: {', '.join(labels[:20])}"
    raise UsageError(f"the network knows no class '{name}'; {hint}")


def _cut(video: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], form: ClipFormat) -> npt.NDArray[np.uint8]:
    return np.asarray(video[clip_indices(starts[:, None], form.length, form.frame_stride, len(video))])
