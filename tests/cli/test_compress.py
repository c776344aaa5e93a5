"""`kresp3d compress` from end to end, on encoded videos."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from kresp3d.cli.main import main
from kresp3d.compression.kernels import choose_kernels, kernels
from kresp3d.inference.keras_engine import load_network
from kresp3d.runs.run_folder import RunFolder

#: A training of 30 steps an epoch that takes no time for pictures.
SHORT = ["--set", "training.epochs=2", "--set", "training.tensorboard_every=0"]
#: Sparser from the first step to the last.
HALF = ["--set", "compress.sparsity=0.5", "--set", "compress.ramp=1.0"]


def run(*words: object) -> int:
    return main([str(word) for word in words])


def kernels_in(file: Path) -> list[np.ndarray]:
    """Of the convolutions and dense layers in a LiteRT file."""
    from kresp3d.export.flatbuffer import FlatBuffer

    buffer = FlatBuffer(file.read_bytes())
    operators = [o for o in buffer.operators() if o.name in ("CONV_2D", "FULLY_CONNECTED")]
    return [buffer.values(operator.inputs[1]) for operator in operators]


def videos_of(folder: Path) -> Path:
    return Path(RunFolder.open(folder).config.data.videos)


def sentence(capfd: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    capfd.readouterr()
    assert run(*words) == code
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    return line


@pytest.fixture(scope="module")
def pruned(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compressed") / "pruned"
    assert run("compress", trained_run, "--method", "prune", *SHORT, *HALF, "--out", out) == 0
    return out


def test_the_result_is_a_run_like_any_other_whose_weights_are_zero(pruned: Path, trained_run: Path, capfd) -> None:
    network = load_network(RunFolder.open(pruned))
    for kernel in choose_kernels(network, None):
        assert kernel.zeros / kernel.size == pytest.approx(0.5, abs=0.5 / kernel.size + 1e-6), kernel.name
    before, after = (json.loads((path / "metrics.json").read_text())["video_top1"] for path in (trained_run, pruned))
    assert after >= before - 0.2
    for name in ("catalog.csv", "classes.txt"):
        assert (pruned / name).read_bytes() == (trained_run / name).read_bytes()
    config = yaml.safe_load((pruned / "config.yaml").read_text())
    assert config["name"] == "tiny-prune" and config["compress"]["methods"] == ["prune"]
    assert run("evaluate", pruned) == 0
    assert "code has changed" not in capfd.readouterr().err
    assert json.loads((pruned / "metrics.json").read_text())["video_top1"] == after


def test_what_it_has_come_to_is_printed_and_noted(pruned: Path) -> None:
    values = json.loads((pruned / "compression.json").read_text())
    network = load_network(RunFolder.open(pruned))
    assert values["after"]["zeros"] == sum(kernel.zeros for kernel in kernels(network))
    assert values["before"]["zeros"] == 0 and values["before"]["weights"] == values["after"]["weights"]
    assert values["after"]["gzip"] < values["before"]["gzip"] <= values["before"]["float32"] * 1.01


def test_the_sizes_of_the_litert_files_are_noted(for_int8: Path, pruned: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    values = json.loads((for_int8 / "compression.json").read_text())
    pruned_values = json.loads((pruned / "compression.json").read_text())
    assert values["source"] == str(pruned.resolve()) and values["before"] == pruned_values["after"]
    assert values["after"]["litert"] < values["before"]["litert"]
    assert pruned_values["after"]["litert_gzip"] < pruned_values["before"]["litert_gzip"]


def test_exported_files_have_the_zeros(pruned: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    words = ("--format", "litert", "--format", "saved_model", "--quantize", "none", "--quantize", "int8")
    assert run("export", pruned, *words, "--to", tmp_path) == 0
    chosen = choose_kernels(load_network(RunFolder.open(pruned)), None)
    expected = sorted((kernel.size, kernel.zeros) for kernel in chosen)

    import tensorflow as tf

    loaded = tf.saved_model.load(str(tmp_path / "1"))
    found = [(v.numpy().size, int((v.numpy() == 0).sum())) for v in loaded.weights if len(v.shape) > 1]
    assert set(expected) <= set(found)
    for name in ("tiny-prune-float32.tflite", "tiny-prune-int8.tflite"):
        found = [(kernel.size, int((kernel == 0).sum())) for kernel in kernels_in(tmp_path / name)]
        for size, zeros in expected:
            # Small weights are rounded to zero besides.
            assert any(size == other and zeros <= count for other, count in found), (name, size, zeros)


def test_a_compressed_network_is_compressed_again_and_keeps_its_zeros(pruned: Path, tmp_path: Path) -> None:
    assert run("compress", pruned, "--method", "prune-2x4", *SHORT, "--out", tmp_path / "again") == 0
    before, after = (load_network(RunFolder.open(path)) for path in (pruned, tmp_path / "again"))
    for one, two in zip(kernels(before), kernels(after), strict=True):
        assert not two.variable.numpy()[one.variable.numpy() == 0].any()
    config = RunFolder.open(tmp_path / "again").config
    assert config.compress.methods == ("prune", "prune-2x4") and config.name == "tiny-prune-prune-2x4"


@pytest.fixture(scope="module")
def for_int8(pruned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pruned network that was then trained for int8."""
    out = tmp_path_factory.mktemp("compressed") / "qat"
    assert run("compress", pruned, "--method", "qat", *SHORT, "--out", out) == 0
    return out


def test_after_training_for_int8_the_zeros_are_there_and_the_kernels_are_rounded(for_int8: Path, pruned: Path) -> None:
    before, after = (load_network(RunFolder.open(path)) for path in (pruned, for_int8))
    for one, two in zip(kernels(before), kernels(after), strict=True):
        assert not two.variable.numpy()[one.variable.numpy() == 0].any()
        assert max(len(np.unique(channel)) for channel in np.moveaxis(two.variable.numpy(), -1, 0)) <= 255
    config = RunFolder.open(for_int8).config
    assert config.compress.methods == ("prune", "qat") and config.training.precision == "float32"
    assert json.loads((for_int8 / "compression.json").read_text())["methods"] == ["prune", "qat"]


def test_its_int8_file_says_what_the_rounded_network_says(for_int8: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    from kresp3d.inference.keras_engine import KerasEngine
    from kresp3d.inference.open_engine import open_engine

    assert run("export", for_int8, "--format", "litert", "--to", tmp_path) == 0
    [path] = tmp_path.glob("*.tflite")
    assert path.name == "tiny-prune-qat-int8.tflite"
    clips = np.random.default_rng(0).integers(0, 256, (20, 5, 16, 16, 3), np.uint8)
    # The file's probabilities are multiples of 1/256, which do not add up to 1 before they are divided by their sum.
    steps = 256 * (open_engine(path).probabilities(clips) - KerasEngine(RunFolder.open(for_int8)).probabilities(clips))
    assert np.abs(steps).max() <= 2.5 and np.abs(steps).mean() <= 1
    found = kernels_in(path)
    for kernel in kernels(load_network(RunFolder.open(for_int8))):
        zeros = [int((values == 0).sum()) for values in found if values.size == kernel.size]
        assert kernel.zeros in zeros, kernel.name


def test_its_other_files_round_as_well(for_int8: Path, tmp_path: Path, capfd) -> None:
    # Each is compared with the network, and refused where it differs.
    assert run("export", for_int8, "--format", "saved_model", "--to", tmp_path) == 0
    assert run("predict", tmp_path / "1", *sorted((videos_of(for_int8) / "walk").glob("*.mp4"))) == 0
    line = sentence(capfd, 1, "export", for_int8, "--format", "litert", "--quantize", "none", "--to", tmp_path / "no")
    assert "was trained for int8" in line


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_engines_that_add_in_another_order_may_round_to_the_other_side(for_int8: Path, tmp_path: Path, form) -> None:
    from kresp3d.export.export import installed_formats

    if form not in installed_formats():
        pytest.skip(f"{form} is not installed; pip install 'kresp3d[{form}]'")
    assert run("export", for_int8, "--format", form, "--to", tmp_path) == 0
    assert json.loads((tmp_path / "parity.json").read_text())["artefacts"][0]["rounds"] is True


def test_explain_draws_a_network_that_was_trained_for_int8(for_int8: Path, tmp_path: Path) -> None:
    video = next((videos_of(for_int8) / "walk").glob("*.mp4"))
    assert run("explain", for_int8, video, "--out", tmp_path / "picture.png") == 0


def test_after_clustering_each_layer_of_a_file_has_few_values(pruned: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    out = tmp_path / "clustered"
    few = ("--set", "compress.clusters=4")
    assert run("compress", pruned, "--method", "cluster", *SHORT, *few, "--until", 1, "--out", out) == 0
    assert run("compress", pruned, "--method", "cluster", *SHORT, *few, "--resume", "--out", out) == 0
    before, after = (load_network(RunFolder.open(path)) for path in (pruned, out))
    for one, two in zip(choose_kernels(before, None), choose_kernels(after, None), strict=True):
        assert not two.variable.numpy()[one.variable.numpy() == 0].any()
    assert run("export", out, "--format", "litert", "--quantize", "none", "--to", tmp_path / "files") == 0
    [path] = (tmp_path / "files").glob("*.tflite")
    found = kernels_in(path)
    for kernel in choose_kernels(after, None):
        assert min(len(np.unique(values)) for values in found if values.size == kernel.size) <= 4, kernel.name
    layers = json.loads((out / "compression.json").read_text())["after"]["layers"]
    assert {layers[kernel.name]["values"] for kernel in choose_kernels(after, None)} <= {2, 3, 4}
    assert run("predict", out, *sorted((videos_of(out) / "walk").glob("*.mp4"))[:2]) == 0


def test_a_slim_network_is_smaller_and_is_exported_like_any_other(trained_run: Path, tmp_path: Path, capfd) -> None:
    out = tmp_path / "slim"
    assert run("compress", trained_run, "--method", "slim", "--set", "compress.width=0.5", *SHORT, "--out", out) == 0
    before, after = (load_network(RunFolder.open(path)) for path in (trained_run, out))
    # Four channels are the fewest, which the convolutions of this network have.
    assert after.get_layer("fc1").units == 8 < before.get_layer("fc1").units
    assert after.count_params() < before.count_params()
    assert run("predict", out, *sorted((videos_of(out) / "walk").glob("*.mp4"))[:2]) == 0
    assert run("export", out, "--format", "saved_model", "--to", tmp_path / "files") == 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    config["compress"]["methods"] = ["cluster"]
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    assert "the result of cluster, which comes last" in sentence(
        capfd, 2, "compress", out, "--method", "slim", "--out", tmp_path / "no"
    )


def test_killed_and_resumed_it_ends_at_the_same_weights(trained_run: Path, pruned: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    command = ["compress", trained_run, "--method", "prune", *SHORT, *HALF, "--out", out]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", "kresp3d", *map(str, command)]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "history.csv").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # By the command for every run; `compress --resume` is another way.
    assert run("train", "--resume", "--out", out) == 0
    assert json.loads((out / "compression.json").read_text())["after"]["zeros"] > 0
    whole, parts = (load_network(RunFolder.open(path)) for path in (pruned, out))
    for one, two in zip(kernels(whole), kernels(parts), strict=True):
        np.testing.assert_array_equal(one.variable.numpy() == 0, two.variable.numpy() == 0)
        np.testing.assert_allclose(one.variable.numpy(), two.variable.numpy(), atol=1e-4)


def test_a_kill_before_training_has_begun_is_gone_on_from(trained_run: Path, pruned: Path, tmp_path: Path) -> None:
    out = shutil.copytree(pruned, tmp_path / "run")
    for name in ("start.keras", "environment.json", "model.keras", "history.csv", "training.json", "compression.json"):
        (out / name).unlink()
    shutil.rmtree(out / "checkpoints")
    assert run("compress", trained_run, "--method", "prune", *SHORT, *HALF, "--out", out, "--resume") == 0
    assert (out / "compression.json").is_file() and (out / "model.keras").is_file()


def test_bad_input_is_a_sentence(pruned: Path, trained_run: Path, tmp_path: Path, capfd) -> None:
    out = ("--out", tmp_path / "out")
    prune = ("compress", trained_run, "--method", "prune", *out)
    assert "the result of prune already" in sentence(capfd, 2, "compress", pruned, "--method", "prune", *out)
    for sparsity in ("1.0", "-0.5", ".nan"):
        assert "compress.sparsity" in sentence(capfd, 2, *prune, "--set", f"compress.sparsity={sparsity}")
    assert "no layer 'res9*'" in sentence(capfd, 2, *prune, "--set", "compress.layers=[res9*]")
    assert "compress.layers" in sentence(capfd, 2, *prune, "--set", "compress.layers=[]")
    assert "model.width is 4 in" in sentence(capfd, 2, *prune, "--set", "model.width=8")
    assert "is no part of the kernel of" in sentence(capfd, 2, *prune, "--set", "compress.block=[1, 16]")
    assert "set training.keep to last" in sentence(capfd, 2, *prune, "--set", "training.keep=best")
    assert "model.attention is true in" in sentence(capfd, 2, *prune, "--set", "model.attention=false")
    assert "compress.methods" in sentence(capfd, 2, *prune, "--set", "compress.methods=[prune-2x4]")
    assert "is the run itself" in sentence(capfd, 2, "compress", trained_run, "--method", "prune", "--out", trained_run)
    assert "is no run folder" in sentence(capfd, 1, "compress", tmp_path / "none", "--method", "prune", *out)
    assert not (tmp_path / "out" / "model.keras").exists()


def test_what_training_for_int8_cannot_take_is_a_sentence(for_int8: Path, trained_run: Path, tmp_path, capfd) -> None:
    out = ("--out", tmp_path / "out")
    qat = ("compress", trained_run, "--method", "qat", *out)
    assert "which comes last" in sentence(capfd, 2, "compress", for_int8, "--method", "prune", *out)
    for value in ("training.precision=mixed_bfloat16", "training.gradient_checkpointing=true"):
        assert f"{value.partition('=')[0]} " in sentence(capfd, 2, *qat, "--set", value)
    copy = shutil.copytree(trained_run, tmp_path / "full3d")
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["model"]["variant"] = "full3d"
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    assert "have no int8 form" in sentence(capfd, 2, "compress", copy, "--method", "qat", *out)
    assert not (tmp_path / "out").exists()


def test_a_run_is_gone_on_with_from_its_own_source_alone(pruned: Path, trained_run: Path, tmp_path, capfd) -> None:
    other = shutil.copytree(trained_run, tmp_path / "other")
    words = ("--method", "prune", *SHORT, *HALF, "--resume", "--out", pruned)
    assert f"compresses the network of {trained_run.resolve()}" in sentence(capfd, 2, "compress", other, *words)


def test_a_run_without_its_training_videos_is_a_sentence(trained_run: Path, tmp_path: Path, capfd) -> None:
    run_folder = shutil.copytree(trained_run, tmp_path / "run")
    environment = json.loads((run_folder / "environment.json").read_text())
    (run_folder / "environment.json").write_text(json.dumps(environment | {"records": str(tmp_path / "gone")}))
    line = sentence(capfd, 1, "compress", run_folder, "--method", "prune", "--out", tmp_path / "out")
    assert "gone" in line and "kresp3d data prepare" in line
    assert not (tmp_path / "out" / "start.keras").exists()


def test_the_configuration_of_a_compressed_run_is_not_trained_from_scratch(pruned: Path, tmp_path, capfd) -> None:
    copy = shutil.copytree(pruned, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    words = ("train", "--config", copy / "config.yaml", "--out")
    assert "kresp3d compress RUN" in sentence(capfd, 2, *words, copy, "--overwrite")
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert "kresp3d compress RUN" in sentence(capfd, 2, *words, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_into_memory_replaces_nothing(pruned, trained_run, tmp_path, monkeypatch, capfd):
    out = shutil.copytree(pruned, tmp_path / "pruned")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr("kresp3d.training.memory.available", lambda: 2**29)
    line = sentence(capfd, 1, "compress", trained_run, "--method", "qat", "--out", out, "--overwrite")
    # The network is what it is.
    assert "0.5 GiB are available; lower training.batch_size" in line and "model.size" not in line
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
