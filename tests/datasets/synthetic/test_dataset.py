import csv
import io
import json
import re

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import SyntheticConfig
from kresp3d.datasets.synthetic import dataset as synthetic
from kresp3d.datasets.synthetic.dataset import (
    ACTIONS,
    contact_sheet,
    render_video,
    split_subjects,
    write_contact_sheet,
    write_dataset,
)
from kresp3d.system.errors import KrespError

TINY = SyntheticConfig(subjects=2, videos_per_class=1, size=32, seconds=0.5, fps=10)


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, stream.codec_context.name, stream.average_rate


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("synth") / "new" / "set", TINY, workers=1)


def test_every_video_is_h264_and_shows_what_was_rendered(dataset):
    for action in ("clap", "side-step"):
        frames, codec, rate = decoded(dataset / action / f"g02_{action}_v01.mp4")
        rendered = render_video(action, subject=2, take=1, config=TINY)
        assert codec == "h264"
        assert rate == 10
        assert frames.shape == rendered.shape
        # Compression and halved colour cost little: a swapped plane or range would cost far more.
        assert np.abs(frames.astype(int) - rendered).mean() < 8
        assert np.abs(frames.mean(axis=(0, 1, 2)) - rendered.mean(axis=(0, 1, 2))).max() < 3


def test_the_catalog_lists_every_file_with_its_group_and_split(dataset):
    rows = list(csv.DictReader(io.StringIO((dataset / "catalog.csv").read_text())))
    files = sorted(path.relative_to(dataset).as_posix() for path in dataset.rglob("*.mp4"))
    assert sorted(row["path"] for row in rows) == files
    assert len(files) == len(ACTIONS) * 2
    for row in rows:
        assert row["path"].startswith(row["label"] + "/")
        assert row["group"] == "g" + re.search(r"g(\d+)", row["path"])[1]
    assert {(row["group"], row["split"]) for row in rows} == {("g01", "train"), ("g02", "test")}


def test_the_mark_says_renderer_and_settings_and_nothing_else_is_left(dataset):
    mark = json.loads((dataset / "synthetic.json").read_text())
    assert mark == {"renderer": synthetic.RENDERER, **TINY.model_dump()}
    assert sorted(path.name for path in dataset.iterdir()) == sorted([*ACTIONS, "catalog.csv", "synthetic.json"])


def test_a_second_call_does_nothing(dataset):
    before = state(dataset)
    assert write_dataset(dataset, TINY, workers=1) == dataset
    assert state(dataset) == before


def test_several_processes_write_the_same_bytes(dataset, tmp_path):
    seen = []
    write_dataset(tmp_path / "set", TINY, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(21)]
    for path in dataset.rglob("*.*"):
        assert (tmp_path / "set" / path.relative_to(dataset)).read_bytes() == path.read_bytes()


def test_an_interrupted_run_goes_on_where_it_stopped(dataset, tmp_path, monkeypatch):
    folder = tmp_path / "set"

    def interrupt(done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(folder, TINY, workers=1, progress=interrupt)
    assert len(list(folder.rglob("*.mp4"))) == 7
    assert not (folder / "synthetic.json").exists()
    (folder / "bend" / ".part-1-g01_bend_v01.mp4").write_bytes(b"half")

    rendered = []
    original = synthetic.render_video
    monkeypatch.setattr(
        synthetic, "render_video", lambda action, **rest: rendered.append(action) or original(action, **rest)
    )
    write_dataset(folder, TINY, workers=1)
    assert len(rendered) == 13
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*"))]
    assert names == [path.relative_to(dataset) for path in sorted(dataset.rglob("*"))]
    assert all((folder / name).read_bytes() == (dataset / name).read_bytes() for name in names if name.suffix)


def test_a_lost_video_is_rendered_again(tmp_path):
    folder = write_dataset(tmp_path / "set", TINY.model_copy(update={"subjects": 1}), workers=1)
    lost = folder / "run" / "g01_run_v01.mp4"
    content = lost.read_bytes()
    lost.unlink()
    write_dataset(folder, TINY.model_copy(update={"subjects": 1}), workers=1)
    assert lost.read_bytes() == content


def test_a_folder_of_other_files_is_refused_and_overwriting_leaves_them(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(KrespError, match="holds other files: give another folder"):
        write_dataset(tmp_path, TINY, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    write_dataset(tmp_path, TINY.model_copy(update={"subjects": 1}), workers=1, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "synthetic.json").exists()


def test_a_dataset_of_other_settings_is_refused_and_overwriting_replaces_it(tmp_path):
    write_dataset(tmp_path / "set", TINY, workers=1)
    other = TINY.model_copy(update={"subjects": 1, "seed": 5})
    before = state(tmp_path)
    with pytest.raises(KrespError, match="an embedded dataset of other settings"):
        write_dataset(tmp_path / "set", other, workers=1)
    assert state(tmp_path) == before
    write_dataset(tmp_path / "set", other, workers=1, overwrite=True)
    assert len(list(tmp_path.rglob("*.mp4"))) == len(ACTIONS)
    assert json.loads((tmp_path / "set" / "synthetic.json").read_text())["seed"] == 5


def test_a_path_that_cannot_be_a_folder_is_a_readable_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KrespError, match=r"cannot write the embedded dataset to .*file"):
        write_dataset(tmp_path / "file", TINY, workers=1)


def test_twenty_subjects_are_split_five_three_twelve():
    splits = split_subjects(20)
    assert [splits.count(name) for name in ("test", "validation", "train")] == [5, 3, 12]


@given(st.integers(1, 300))
def test_every_split_has_its_share_of_subjects(subjects):
    splits = split_subjects(subjects)
    assert len(splits) == subjects
    assert splits.count("train") >= 1
    if subjects >= 3:
        assert abs(splits.count("test") - 0.25 * subjects) <= 1
        assert abs(splits.count("validation") - 0.15 * subjects) <= 1
        assert splits.count("validation") >= 1


def test_planes_follow_bt601():
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = np.array(colours, dtype=np.uint8)[:, None, None].repeat(4, axis=1).repeat(6, axis=2)
    planes = synthetic._yuv420(frames)
    assert planes.shape == (5, 6, 6)
    for (red, green, blue), plane in zip(colours, planes, strict=True):
        luma = 16 + 65.481 * red / 255 + 128.553 * green / 255 + 24.966 * blue / 255
        cb = 128 - 37.797 * red / 255 - 74.203 * green / 255 + 112.0 * blue / 255
        cr = 128 + 112.0 * red / 255 - 93.786 * green / 255 - 18.214 * blue / 255
        flat = plane.ravel()
        np.testing.assert_allclose(flat[:24], luma, atol=1)
        np.testing.assert_allclose(flat[24:30], cb, atol=1)
        np.testing.assert_allclose(flat[30:], cr, atol=1)


def test_the_contact_sheet_has_a_row_of_frames_for_each_action(tmp_path):
    sheet = np.asarray(contact_sheet(TINY, columns=3, interval=0.1))
    height, width = 34, 44
    assert sheet.shape == (10 * height, 35 + 3 * width, 3)
    video = render_video("box", subject=2, take=1, config=TINY)
    np.testing.assert_array_equal(sheet[height : height + 32, 35 + width : 35 + width + 42], video[1])
    path = write_contact_sheet(tmp_path / "docs" / "sheet.png", TINY, columns=2)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
