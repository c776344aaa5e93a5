"""Measuring a run with an engine of known scores. The figures of a real network are tested with the command."""

from __future__ import annotations

import numpy as np
import pytest

from kresp3d.evaluation.evaluate import evaluate
from kresp3d.inference.engine import Engine
from kresp3d.inference.keras_engine import network_info
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError


class Colour(Engine):
    """Scores a clip by the share of each colour channel."""

    def _score(self, frames):
        means = frames.astype(np.float64).reshape(len(frames), -1, 3).mean(axis=1)
        return (means / means.sum(axis=1, keepdims=True)).astype(np.float32)


def test_every_clip_is_scored_once_and_counted(trained_run):
    calls = []
    run = RunFolder.open(trained_run)
    found = evaluate(
        Colour(network_info(run)), run, split="test", clips=3, progress=lambda done, total: calls.append((done, total))
    )
    # 6 videos of 3 clips in batches of 4.
    assert calls == [(4, 18), (8, 18), (12, 18), (16, 18), (18, 18)]
    assert (found.videos, found.clips, found.split) == (6, 18, "test")
    # The videos differ by colour: of each class the channel of its number is the brightest.
    assert found.video_top1 == found.clip_top1 == 1.0
    assert found.video_scores.sum(axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert [run.classes[label] for label in found.video_labels] == [name.split("/")[0] for name in found.video_names]


def test_classes_are_compared_by_name_whatever_their_order(trained_run):
    run = RunFolder.open(trained_run)
    info = network_info(run)
    plain = evaluate(Colour(info), run, split="test", clips=2)
    assert run.classes == ("bend", "jump", "walk")

    class Turned(Colour):
        """Gives the same scores in the order of its own classes."""

        def _score(self, frames):
            return super()._score(frames)[:, [2, 0, 1]]

    turned = evaluate(Turned(info.model_copy(update={"labels": ("walk", "bend", "jump")})), run, split="test", clips=2)
    assert turned.video_scores.tolist() == plain.video_scores.tolist()
    assert turned.video_top1 == 1.0
    wrong = evaluate(Colour(info.model_copy(update={"labels": ("walk", "bend", "jump")})), run, split="test", clips=2)
    assert wrong.video_top1 == 0.0


def test_a_network_of_other_classes_is_refused(trained_run):
    run = RunFolder.open(trained_run)
    other = network_info(run).model_copy(update={"labels": ("bend", "jump", "swim")})
    with pytest.raises(KrespError, match=r"knows 3 classes \(bend, jump, swim\), but the run .* has 3 classes \(bend"):
        evaluate(Colour(other), run, split="test", clips=1)


@pytest.mark.parametrize(("key", "value"), [("frame_stride", 2), ("fps", 7.5), ("step", 2), ("short_side", 40)])
def test_a_network_that_takes_other_clips_is_refused_though_its_classes_are_the_same(trained_run, key, value):
    run = RunFolder.open(trained_run)
    info = network_info(run)
    other = info.model_copy(update={"clip": info.clip.model_copy(update={key: value})})
    mine = getattr(info.clip, key)
    with pytest.raises(KrespError, match=rf"takes clips of {key} {value:g} \(the run: {mine:g}\), so .*by --run"):
        evaluate(Colour(other), run, split="test", clips=1)
