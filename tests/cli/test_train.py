"""`kresp3d train` from end to end, on encoded videos."""

from __future__ import annotations

import csv
import fcntl
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kresp3d.cli.main import main
from kresp3d.config.schema import load_config


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the trained run."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.fixture
def config_file(tiny_config, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config))
    return path


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def fails(arguments, code, capsys):
    """The one line that a failing command says."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    return line


def test_a_run_folder_holds_all_that_a_run_leaves(trained_run):
    names = {path.name for path in trained_run.iterdir()} - {".lock"}
    assert names == {
        *("config.yaml", "environment.json", "catalog.csv", "classes.txt", "checkpoints", "logs", "history.csv"),
        *("training.json", "model.keras", "metrics.json", "report.md", "figures"),
        *("predictions.csv", "per_class.csv", "per_group.csv"),
    }
    training = json.loads((trained_run / "training.json").read_text())
    assert training["epochs"] == 6 and 1 <= training["kept_epoch"] <= 6 and training["seconds"] > 0
    assert (trained_run / "classes.txt").read_text().split() == ["bend", "jump", "walk"]
    assert load_config(trained_run / "config.yaml").training.epochs == 6
    names = ("confusion", "per_class", "precision_recall", "roc", "history")
    assert {p.name for p in (trained_run / "figures").iterdir()} == {f"{name}.png" for name in names}


def test_the_network_learns_what_is_easy(trained_run):
    with (trained_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) - 0.3
    assert json.loads((trained_run / "metrics.json").read_text())["video_top1"] > 0.6


def size(png):
    return tf.io.decode_png(png).shape[:2]


def test_tensorboard_gets_curves_and_clips_of_the_training(trained_run, read_events):
    found = read_events(trained_run / "logs")
    with (trained_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for tag, column in (("loss/train", "loss"), ("top1/validation", "val_top1"), ("learning_rate", "learning_rate")):
        assert found[tag] == [(int(row["epoch"]), pytest.approx(float(row[column]))) for row in rows]
    assert [step for step, _ in found["clips_per_second"]] == [1, 2, 3, 4, 5, 6]
    assert all(rate > 1 for _, rate in found["clips_per_second"])
    # Four frames of 16 x 16 over their residual frames, two pixels between.
    clips = [found[f"clips/{number}"] for number in range(4)]
    assert all(step == 0 and size(png) == (34, 70) for [(step, png)] in clips) and "clips/4" not in found


def test_tensorboard_gets_the_classes_and_the_confusion_matrix_of_both_splits(trained_run, read_events):
    found = read_events(trained_run / "logs")
    metrics = json.loads((trained_run / "metrics.json").read_text())
    for row in metrics["per_class"]:
        assert found[f"top1_by_class_test/{row['class']}"] == [(6, pytest.approx(row["video_top1"]))]
        # One validation video of each class.
        curve = found[f"top1_by_class_validation/{row['class']}"]
        assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6] and {value for _, value in curve} <= {0.0, 1.0}
    assert found["clip_top1/test"] == [(6, pytest.approx(metrics["clip_top1"]))]
    assert found["video_top1/test"] == [(6, pytest.approx(metrics["video_top1"]))]
    # With one clip of each video, a video is right where its clip is.
    assert found["video_top1/validation"] == found["top1/validation"]
    classes = [found[f"top1_by_class_validation/{name}"] for name in ("bend", "jump", "walk")]
    means = np.mean([[value for _, value in curve] for curve in classes], axis=0)
    assert means == pytest.approx([value for _, value in found["video_top1/validation"]])
    [(step, png)] = found["confusion/test"]
    assert step == 6 and png == (trained_run / "figures" / "confusion.png").read_bytes()
    # In between, `tensorboard_every` is 10; after the last epoch there is one in any case. Classes and scale are alike.
    [(step, png)] = found["confusion/validation"]
    assert step == 6 and size(png) == size((trained_run / "figures" / "confusion.png").read_bytes())


def test_tensorboard_compares_runs_by_their_settings_and_accuracies(trained_run):
    events = EventAccumulator(str(trained_run / "logs"))
    events.Reload()

    def content(tag):
        return plugin_data_pb2.HParamsPluginData.FromString(events.SummaryMetadata(tag).plugin_data.content)

    start = content("_hparams_/session_start_info").session_start_info
    assert start.group_name == str(trained_run)
    values = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
    assert values["training.learning_rate"] == 0.1 and values["model.modality"] == "both"
    assert values["model.attention"] is True and values["model.blocks"] == "[1]" and values["seed"] == 0
    assert "training.ema" not in values
    experiment = content("_hparams_/experiment").experiment
    assert set(values) <= {info.name for info in experiment.hparam_infos}
    # Each column's tag is that of a curve of the same TensorBoard run.
    metrics = [info.name.tag for info in experiment.metric_infos]
    assert metrics == ["top1/validation", "clip_top1/test", "video_top1/test"]
    assert all(events.Tensors(tag) for tag in metrics)


def test_tensorboard_gets_the_graph_of_the_network(trained_run):
    events = EventAccumulator(str(trained_run / "logs"))
    events.Reload()
    assert any(node.name.startswith("p3d_both/res2_1_motion/") for node in events.Graph().node)


def test_measuring_again_replaces_what_tensorboard_shows(run, read_events):
    before = read_events(run / "logs")
    assert main(["evaluate", str(run)]) == 0
    assert {tag: points for tag, points in read_events(run / "logs").items() if "test" in tag} == {
        tag: points for tag, points in before.items() if "test" in tag
    }


def test_a_folder_with_a_run_is_left_alone(run, config_file, capsys):
    before = contents(run)
    line = fails(["train", "--config", config_file, "--out", run], 1, capsys)
    assert "--resume" in line and "--overwrite" in line and str(run) in line
    assert contents(run) == before


def test_overwrite_begins_anew(run, config_file, capsys):
    (run / ".part-1-model.keras").write_bytes(b"left by a killed process")
    (run / "evaluation-train").mkdir()
    assert main(["train", "--config", str(config_file), "--out", str(run), "--overwrite"]) == 0
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 2
    assert not (run / ".part-1-model.keras").exists() and not (run / "evaluation-train").exists()


def test_what_does_not_fit_into_memory_stops_before_anything_is_replaced(run, config_file, capsys, monkeypatch):
    monkeypatch.setattr("kresp3d.training.memory.available", lambda: 2**29)
    before = contents(run)
    line = fails(["train", "--config", config_file, "--out", run, "--overwrite"], 1, capsys)
    assert "GiB of memory, and 0.5 GiB are available; lower training.batch_size" in line
    assert contents(run) == before
    fails(["train", "--config", config_file, "--out", run.with_name("new")], 1, capsys)
    # Which leaves nothing in the way.
    monkeypatch.undo()
    words = ["train", "--config", config_file, "--out", run.with_name("new"), "--set", "training.epochs=1"]
    assert main([*map(str, words), "--set", "training.warmup_epochs=0"]) == 0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training.class_weights={fly: 2}"], "there is no class 'fly'; the classes are bend, jump, walk"),
        (["training.early_stop=2", "data.validation=0"], "needs validation videos"),
        (["training.profile=[1000, 1001]"], "profile begins at step 1000, but this training has 6 steps"),
        (["data.videos=nowhere"], "nowhere does not exist"),
        (["data.group_regex=(x)"], "does not fit"),
    ],
)
def test_a_mistake_in_the_settings_replaces_no_run(run, config_file, tmp_path, capsys, overrides, words):
    before = contents(run)
    options = [word for override in overrides for word in ("--set", override)]
    assert main(["train", "--config", str(config_file), "--out", str(run), "--overwrite", *options]) != 0
    assert words in capsys.readouterr().err
    assert contents(run) == before


def test_a_class_of_which_no_training_video_can_be_decoded_is_named(tiny_config, run, tmp_path, capsys):
    videos = shutil.copytree(tiny_config["data"]["videos"], tmp_path / "videos")
    with (run / "catalog.csv").open() as file:
        split = {row["name"]: row["split"] for row in csv.DictReader(file)}
    for name in [name for name, of in split.items() if of == "train" and name.startswith("walk/")]:
        (videos / name).write_bytes(b"no video")
    data = {**tiny_config["data"], "videos": str(videos), "cache": str(tmp_path / "data"), "max_bad": 0.5}
    values = {**tiny_config, "data": data}
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(values))
    before = contents(run)
    assert main(["train", "--config", str(tmp_path / "broken.yaml"), "--out", str(run), "--overwrite"]) == 1
    error = capsys.readouterr().err
    assert "1 class without a training video that can be decoded: walk" in error and "prepare-report.csv" in error
    assert contents(run) == before


def test_videos_that_changed_since_the_training_began_are_told_before_it_goes_on(tiny_config, tmp_path, capsys):
    videos = shutil.copytree(tiny_config["data"]["videos"], tmp_path / "videos")
    rows = [(path.relative_to(videos).as_posix(), path.parent.name) for path in sorted(videos.rglob("*.mp4"))]

    def write_table(labels):
        text = "".join(f"{name},{labels.get(name, label)}\n" for name, label in rows)
        (videos / "table.csv").write_text("path,label\n" + text)

    write_table({})
    data = {**tiny_config["data"], "videos": str(videos / "table.csv"), "cache": str(tmp_path / "data")}
    values = {**tiny_config, "data": data, "training": {**tiny_config["training"], "epochs": 3, "warmup_epochs": 0}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    run = tmp_path / "changed"
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--out", str(run), "--until", "1"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--out", str(run), "--until", "2"]) == 0
    assert "changed" not in capsys.readouterr().err
    write_table({rows[0][0]: "walk"})
    assert main(["train", "--resume", "--out", str(run)]) == 0
    told = capsys.readouterr().err
    assert "have changed since the training" in told and "it goes on with them" in told
    assert f"1 video of {run} changed class since its training began, such as {rows[0][0]} from 'bend' to 'walk'" in (
        told
    )


def test_resume_of_a_finished_run_only_measures(run, capsys):
    before = contents(run)
    (run / "metrics.json").unlink()
    assert main(["train", "--resume", "--out", str(run)]) == 0
    out = capsys.readouterr().out
    assert "resuming after epoch 6" in out and "test split" in out and "top-1  val loss" not in out
    after = contents(run)
    for name in ("history.csv", "metrics.json", "catalog.csv"):
        [path] = [p for p in before if str(p) == name]
        assert after[path] == before[path]


def test_resume_of_a_finished_run_says_so_and_changes_nothing(run, capsys):
    before = contents(run)
    assert main(["train", "--resume", "--out", str(run)]) == 0
    out = capsys.readouterr().out
    assert "is finished: 6 epochs are trained and measured" in out and "training.epochs=12" in out
    assert "Report: " not in out and "val top-1" not in out
    after = contents(run)
    # Not even the file of the network, by whose digest exported ones know it.
    assert after == before
    # Other settings of the evaluation measure it anew, and are no phase.
    assert main(["train", "--resume", "--out", str(run), "--set", "evaluation.clips=3", "--set", "data.memory=1"]) == 0
    assert "Report: " in capsys.readouterr().out
    config = load_config(run / "config.yaml")
    assert config.evaluation.clips == 3 and config.data.memory == 1 and not (run / "phases.json").exists()
    assert json.loads((run / "metrics.json").read_text())["clips"] == 6 * 3


def test_resume_refuses_another_configuration(run, config_file, capsys):
    line = fails(["train", "--resume", "--out", run, "--set", "training.optimizer=adamw"], 2, capsys)
    assert "training.optimizer=sgd" in line and "adamw" in line and "other keys" not in line
    line = fails(["train", "--resume", "--out", run, "--config", config_file, "--set", "training.ema=0.9"], 2, capsys)
    assert "model.fc1=16" in line and "received 8" in line and "1 other" in line
    line = fails(["train", "--resume", "--out", run, "--set", "training.learning_rate=0.5"], 2, capsys)
    assert "6 epochs" in line and "training.learning_rate=0.5" in line and "training.epochs=12" in line


def rows_of(run):
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_resume_with_more_epochs_and_another_rate_goes_on_in_a_new_phase(run, read_events, capsys):
    before = rows_of(run)
    more = ["train", "--resume", "--out", str(run), "--set"]
    assert main([*more, "training.epochs=8", "--set", "training.learning_rate=0.02", "--until", "7"]) == 0
    out = capsys.readouterr().out
    assert "Phase 2 begins with epoch 7: training.epochs 6 → 8, training.learning_rate 0.1 → 0.02" in out
    assert "   7/7" in out and "Report: " in out
    # Goes on in the phase that it is in.
    assert main(["train", "--resume", "--out", str(run)]) == 0
    assert "Phase 2 begins" not in capsys.readouterr().out
    assert main([*more, "training.epochs=9", "--set", "clip.per_video=2", "--set", "training.keep=last"]) == 0
    assert "Phase 3 begins with epoch 9: clip.per_video 16 → 2, training.epochs 8 → 9" in capsys.readouterr().out
    rows = rows_of(run)
    assert [(row["epoch"], row["phase"]) for row in rows] == [
        *((str(epoch), "1") for epoch in range(1, 7)),
        *(("7", "2"), ("8", "2"), ("9", "3")),
    ]
    assert rows[:6] == before
    phases = json.loads((run / "phases.json").read_text())
    # 15 videos, 16 clips each, 4 in a step.
    assert [(p["first_epoch"], p["first_step"]) for p in phases] == [(7, 6 * 60), (9, 8 * 60)]
    assert [sorted(p["changed"]) for p in phases] == [
        ["training.epochs", "training.learning_rate"],
        ["clip.per_video", "training.epochs"],
    ]
    assert all(p["began"] and p["command"] for p in phases)
    config = load_config(run / "config.yaml")
    assert (config.training.epochs, config.training.learning_rate, config.clip.per_video) == (9, 0.02, 2)
    report = (run / "report.md").read_text()
    assert "| phase 2 | from epoch 7: training.epochs 6 → 8" in report and "| phase 3 | from epoch 9" in report
    training = json.loads((run / "training.json").read_text())
    assert training["epochs"] == 9 and training["kept_epoch"] == 9
    found = read_events(run / "logs")
    assert [step for step, _ in found["loss/train"]] == list(range(1, 10))
    events = EventAccumulator(str(run / "logs"))
    events.Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["training.learning_rate"].number_value == 0.02


def test_what_is_auto_is_settled_written_with_its_reason_and_kept_on_resume(tiny_config, tmp_path, caplog, capsys):
    values = {key: tiny_config[key] for key in ("data", "evaluation")}
    values["model"] = {**tiny_config["model"], "frames": "auto"}
    values["training"] = {**tiny_config["training"], "epochs": "auto", "ema": "auto", "keep": "auto", "minutes": 1e-6}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values))
    arguments = ["train", "--config", str(file), "--out", str(tmp_path / "run"), "--set", "clip.per_video=1"]
    assert main(arguments) == 0
    assert "Plan: 1 epoch of 3 steps" in capsys.readouterr().out
    text = (tmp_path / "run" / "config.yaml").read_text()
    written = yaml.safe_load(text)
    # Videos have 16 frames, of which a clip takes one more than the network's.
    assert written["model"]["frames"] == 15 and written["clip"]["frame_stride"] == 1
    assert written["training"]["epochs"] == 1 and written["training"]["keep"] == "last"
    assert "# training.epochs is 1: as many as 1e-06 minutes" in text and "auto" not in str(written["training"]["ema"])
    assert main([*arguments, "--resume"]) == 0
    assert (tmp_path / "run" / "config.yaml").read_text() == text


def test_only_one_process_trains_in_a_folder(run, config_file, capsys):
    before = contents(run)
    with (run / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for arguments in (["--resume"], ["--overwrite", "--config", config_file]):
            assert "another process" in fails(["train", "--out", run, *arguments], 1, capsys)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "RUN"], 2, "--config"),
        (["--resume", "--out", "NOTHING"], 2, "no run to resume"),
        (["--resume", "--overwrite", "--config", "CONFIG"], 2, "exclude each other"),
        (["--config", "CONFIG", "--out", "CONFIG"], 1, "is a file"),
        (["--config", "CONFIG", "--out", "FOREIGN", "--overwrite"], 1, "notes.txt"),
        (["--config", "CONFIG", "--out", "NEW", "--set", "training.replicas=3"], 2, "multiple of 3"),
        (["--config", "CONFIG", "--out", "NEW", "--set", "data.videos=/nowhere"], 2, "/nowhere"),
        # Two epochs of 3 steps.
        (["--config", "CONFIG", "--out", "NEW", "--set", "training.profile=[6, 7]"], 2, "has 6 steps"),
        (["--config", "CONFIG", "--out", "NEW", "--set", "training.profile=[3, 3]"], 2, "[FIRST, END]"),
        (["--config", "CONFIG", "--out", "NEW", "--set", "training.tensorboard_every=-1"], 2, "tensorboard_every"),
    ],
)
def test_mistakes_get_a_sentence(arguments, code, words, config_file, tmp_path, capsys):
    foreign = tmp_path / "FOREIGN"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    paths = {"CONFIG": config_file, "FOREIGN": foreign, "NEW": tmp_path / "NEW", "NOTHING": tmp_path / "NOTHING"}
    capsys.readouterr()
    assert main(["train", *(str(paths.get(a, a)) for a in arguments)]) == code
    err = capsys.readouterr().err
    assert words in err.splitlines()[-1] and "Traceback" not in err
    assert [p.name for p in foreign.iterdir()] == ["notes.txt"]


def test_a_start_that_failed_does_not_block_the_next(config_file, tmp_path, capsys):
    arguments = ["train", "--config", str(config_file), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--set", "training.replicas=3"]) == 2
    assert main([*arguments, "--set", "training.epochs=1"]) == 0
    assert np.loadtxt(tmp_path / "run" / "history.csv", delimiter=",", skiprows=1, ndmin=2).shape[0] == 1
