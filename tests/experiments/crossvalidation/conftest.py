"""Cross-validations that no training made."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from kresp3d.config.schema import parse_config
from kresp3d.experiments.crossvalidation.folder import CrossValidationFolder
from kresp3d.experiments.crossvalidation.plan import FoldVideo, Plan

CLASSES = ("bend", "jump", "walk")


@pytest.fixture
def base():
    """What all folds share."""
    return parse_config({"name": "small", "model": {"frames": 4}, "training": {"epochs": 2, "keep": "last"}}, "test")


@pytest.fixture
def make_plan():
    """`make_plan(groups=6, folds=3)`: a video of each class of each group, group `p0` in fold 1, `p1` in fold 2, …"""

    def make(groups=6, folds=3, *, has_groups=True):
        videos = [
            FoldVideo(name=f"{label}_p{n}.mp4", label=label, group=f"p{n}" if has_groups else None, fold=n % folds + 1)
            for label in CLASSES
            for n in range(groups)
        ]
        return Plan(folds=folds, all=False, left_out=0, videos=tuple(videos))

    return make


@pytest.fixture
def folder(tmp_path, base):
    """The folder of a cross-validation that has begun."""
    folder = CrossValidationFolder(tmp_path / "small-crossval")
    folder.begin(base)
    return folder


@pytest.fixture
def finish():
    """`finish(folder, plan, fold, wrong=["bend_p0.mp4"])` leaves what a fold's training does, so many videos wrong."""

    def finish(folder, plan, fold, wrong=()):
        training = folder.training(fold)
        training.path.mkdir(parents=True)
        training.run.config_file.write_text("training: {epochs: 2, keep: last}")
        training.run.history_file.write_text("epoch\n1\n2\n")
        training.run.training_file.write_text('{"seconds": 30.0}')
        packages = {"tensorflow": "2.21.0", "keras": "3.15.0"}
        environment = {"records": "/none", "packages": packages, "kresp3d": "0.1.0", "python": "3.11.7"}
        (training.path / "environment.json").write_text(json.dumps(environment))
        rows, hits = [], {name: [] for name in CLASSES}
        for video in plan.tested(fold):
            true = CLASSES.index(video.label)
            best = (true + 1) % 3 if video.name in wrong else true
            scores = np.where(np.arange(3) == best, 0.8, 0.1)
            hits[video.label].append(best == true)
            rows.append([video.name, video.label, CLASSES[best], 0.8, int(best == true), video.group or "", *scores])
        with (training.path / "predictions.csv").open("w", newline="") as file:
            head = ["name", "label", "predicted", "score", "correct", "group", *(f"score_{name}" for name in CLASSES)]
            csv.writer(file).writerows([head, *rows])
        shares = [np.mean(found) for found in hits.values() if found]
        metrics = {
            "video_top1": float(np.mean(np.concatenate(list(hits.values())))),
            "balanced_accuracy": float(np.mean(shares)),
            "baselines": {"majority": {"accuracy": 1 / 3}, "neighbours": {"accuracy": 0.5}},
        }
        (training.path / "metrics.json").write_text(json.dumps(metrics))

    return finish
