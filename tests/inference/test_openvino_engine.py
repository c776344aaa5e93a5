"""Scores by OpenVINO."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from kresp3d.export.openvino import write_openvino
from kresp3d.inference import openvino_engine
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.openvino_engine import INFO_KEY, OpenVINOEngine, has_bfloat16, load_openvino
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

pytest.importorskip("openvino", reason="needs the extra 'openvino'")


@pytest.fixture(scope="module")
def reference(trained_run):
    return KerasEngine(RunFolder.open(trained_run))


@pytest.fixture(scope="module")
def written(trained_run, reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "tiny.xml"
    write_openvino(load_network(RunFolder.open(trained_run)), reference.info, path)
    return path


@pytest.fixture
def copied(written, tmp_path):
    for suffix in (".xml", ".bin"):
        shutil.copy(written.with_suffix(suffix), tmp_path)
    return tmp_path / written.name


def clips(batch: int) -> np.ndarray:
    """A picture each, and a little noise in each frame: on other pixels the network is so sure that scores become 0."""
    random = np.random.default_rng(batch)
    noise = random.integers(-8, 9, (batch, 5, 16, 16, 3))
    return np.asarray(random.integers(60, 180, (batch, 1, 16, 16, 3)) + noise, np.uint8)


def test_scores_are_those_of_keras_for_batches_of_any_size(written, reference):
    engine = OpenVINOEngine(written)
    for batch in (1, 3, 8):
        found = engine.probabilities(clips(batch))
        assert (found.shape, found.dtype) == ((batch, 3), np.float32)
        np.testing.assert_allclose(found, reference.probabilities(clips(batch)), atol=1e-5)


def test_tells_what_the_network_was_exported_as(written, reference):
    assert OpenVINOEngine(written).info == reference.info.model_copy(update={"format": "openvino"})


def test_bfloat16_is_close_but_not_the_same(written, reference):
    if not has_bfloat16(load_openvino().Core()):
        pytest.skip("this CPU has no bfloat16 instructions")
    exact = np.log(reference.probabilities(clips(8)))
    difference = np.abs(np.log(OpenVINOEngine(written, "bfloat16").probabilities(clips(8))) - exact).max()
    # Eight bits of precision in every layer: some percent of the range that the logits have.
    assert 1e-4 < difference / np.ptp(exact) < 0.1


def test_bfloat16_without_instructions_for_it_is_refused(written, monkeypatch):
    monkeypatch.setattr(openvino_engine, "has_bfloat16", lambda core: False)
    with pytest.raises(KrespError, match=r"has no bfloat16 instructions.*; use float32"):
        OpenVINOEngine(written, "bfloat16")


@pytest.mark.parametrize("threads", [1, 2])
def test_computes_in_float32_with_as_many_threads_as_asked(written, threads):
    if threads > (os.cpu_count() or 1):
        pytest.skip("needs two cores")
    compiled = OpenVINOEngine(written, threads=threads)._compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_takes_frames_that_are_not_in_one_piece_or_cannot_be_written(written):
    engine = OpenVINOEngine(written)
    frames = clips(4)
    expected = engine.probabilities(frames)[::-1, :]
    frames.flags.writeable = False
    np.testing.assert_array_equal(engine.probabilities(frames[::-1]), expected)
    mirrored = frames[:, :, :, ::-1]
    np.testing.assert_array_equal(engine.probabilities(mirrored), engine.probabilities(mirrored.copy()))


def test_scores_do_not_change_when_the_next_clips_are_scored(written):
    engine = OpenVINOEngine(written)
    first = engine.probabilities(clips(1))
    kept = first.copy()
    engine.probabilities(clips(2))
    np.testing.assert_array_equal(first, kept)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("suffix", "harm", "message"),
    [
        (".xml", lambda path: path.unlink(), "tiny.xml does not exist"),
        (".bin", lambda path: path.unlink(), "tiny.bin does not exist; expected .* with its .bin beside it"),
        (".xml", halve, "tiny.xml cannot be loaded by OpenVINO .*; export the run again"),
        (".xml", lambda path: path.write_bytes(b""), "tiny.xml cannot be loaded by OpenVINO"),
        (".xml", lambda path: path.write_text("<html><body/></html>"), "tiny.xml cannot be loaded by OpenVINO"),
        (".bin", halve, "tiny.(xml|bin) "),
        (".bin", lambda path: path.write_bytes(b""), "tiny.(xml|bin) "),
        (".bin", flip_a_byte, "tiny.bin does not belong to tiny.xml, or is damaged; export the run again"),
        (
            ".xml",
            lambda path: path.write_text(path.read_text().replace("&quot;version&quot;: 2", "&quot;version&quot;: 9")),
            "exported by another version",
        ),
    ],
    ids=["no xml", "no bin", "half xml", "empty xml", "html", "half bin", "empty bin", "flipped bit", "version"],
)
def test_a_damaged_export_is_refused_in_one_sentence(copied, suffix, harm, message):
    harm(copied.with_suffix(suffix))
    with pytest.raises(KrespError, match=message) as caught:
        OpenVINOEngine(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("&quot;frames&quot;: 4", "&quot;frames&quot;: 6", r"clips \[7, 16, 16, 3\], 3 classes"),
        ("&quot;bend&quot;,", "&quot;bend&quot;, &quot;clap&quot;,", r"clips \[5, 16, 16, 3\], 4 classes"),
    ],
)
def test_a_description_of_another_network_is_refused(copied, old, new, message):
    text = copied.read_text()
    assert old in text
    copied.write_text(text.replace(old, new))
    with pytest.raises(KrespError, match=rf"description of another network \({message}\); export the run again"):
        OpenVINOEngine(copied)


def test_a_network_of_another_program_is_refused(tmp_path):
    openvino = load_openvino()
    from openvino import opset8

    frames = opset8.parameter([1, 3], openvino.Type.f32, name="frames")
    openvino.serialize(openvino.Model([opset8.relu(frames)], [frames], "relu"), tmp_path / "relu.xml")
    with pytest.raises(KrespError, match=r"relu.xml is an OpenVINO network, but was not written by `kresp3d export`"):
        OpenVINOEngine(tmp_path / "relu.xml")


def test_a_network_that_is_none_of_ours_inside_is_refused(copied):
    openvino = load_openvino()
    from openvino import opset8

    text = openvino.Core().read_model(copied).get_rt_info(INFO_KEY).astype(str)
    frames = opset8.parameter([1, 3], openvino.Type.f32, name="frames")
    network = openvino.Model([opset8.relu(frames)], [frames], "relu")
    other = copied.with_name("relu.xml")
    openvino.serialize(network, other)
    network.set_rt_info(text, INFO_KEY)
    network.set_rt_info(openvino_engine.sha256(other.with_suffix(".bin")), openvino_engine.WEIGHTS_KEY)
    openvino.serialize(network, other)
    with pytest.raises(KrespError, match=r"relu.xml carries the description of another network"):
        OpenVINOEngine(other)


def test_nothing_is_reported_to_the_makers_of_openvino(tmp_path):
    code = (
        "from kresp3d.inference.openvino_engine import load_openvino; load_openvino().Core();"
        "import openvino.tools.ovc.telemetry_utils as u; print(u.tm.__name__)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("openvino.tools.ovc.telemetry_stub\n", "")
    # Its telemetry package would keep a number for this user there.
    assert not (tmp_path / "intel").exists()


def test_without_openvino_the_extra_is_named(monkeypatch, written):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(KrespError, match=r"OpenVINO cannot be loaded .*pip install 'kresp3d\[openvino\]'"):
        OpenVINOEngine(written)
