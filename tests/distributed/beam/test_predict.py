"""Scoring on Beam's DirectRunner, in processes of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kresp3d.cli.main import main
from kresp3d.distributed.beam.pipeline import pipeline_options
from kresp3d.distributed.beam.predict import find_paths, predict_on
from kresp3d.inference.keras_engine import KerasEngine
from kresp3d.inference.predictor import video_probabilities
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError

SEVERAL = ["direct_num_workers=2", "direct_running_mode=multi_processing"]


@pytest.fixture(scope="module")
def videos(tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    for path in sorted(Path(tiny_config["data"]["videos"]).glob("*/*.mp4")):
        (folder / path.name).symlink_to(path)
    (folder / "broken, not a video.mp4").write_bytes(b"no video")
    return folder


def test_the_scores_are_those_of_the_local_command(trained_run, videos, tmp_path):
    out = tmp_path / "scores.parquet"
    paths = find_paths([str(videos)])
    found = predict_on(pipeline_options("DirectRunner", SEVERAL), str(trained_run), paths, str(out))
    assert (found.scored, found.bad) == (24, 1)
    # Once in each worker process, and both of them worked.
    assert found.loads == 2
    table = pq.read_table(out)
    labels = json.loads(table.schema.metadata[b"classes"])
    engine = KerasEngine(RunFolder.open(trained_run))
    assert labels == list(engine.info.labels) and len(table) == 24
    for row in table.to_pylist():
        expected = video_probabilities(engine, Path(row["path"]), clips=engine.info.clips)
        np.testing.assert_array_equal(np.float32(row["scores"]), expected.astype(np.float32))
        assert row["class"] == labels[int(np.argmax(expected))] and row["score"] == np.float32(expected.max())
    assert {row["path"] for row in table.to_pylist()} | {str(videos / "broken, not a video.mp4")} == set(paths)


def test_the_command_names_what_cannot_be_decoded(trained_run, videos, tmp_path, capsys):
    out = tmp_path / "scores.parquet"
    words = ["--runner", "DirectRunner", "--out", str(out)]
    assert main(["predict", str(trained_run), f"{videos}/*0?_walk.mp4", f"{videos}/broken*.mp4", *words]) == 1
    said = capsys.readouterr()
    assert said.out == f"{out}: the scores of 8 videos\n"
    assert f"1 of 9 videos could not be decoded; {tmp_path}/scores-bad.csv says why" in said.err
    with (tmp_path / "scores-bad.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "path": str(videos / "broken, not a video.mp4"),
                "reason": "not a video that FFmpeg can read (invalid data found when processing input)",
            }
        ]
    assert {path.name for path in tmp_path.iterdir()} == {"scores.parquet", "scores-bad.csv"}


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(videos, tmp_path):
    (tmp_path / "walk[1].mp4").symlink_to(next(videos.glob("*walk.mp4")))
    assert find_paths([f"{tmp_path}/walk[1].mp4"]) == [f"{tmp_path}/walk[1].mp4"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["VIDEOS", "--runner", "DirectRunner"], 2, "say where the scores are to be, by --out FILE.parquet"),
        (["VIDEOS", "--runner", "DirectRunner", "--out", "a.csv"], 2, "by --out FILE.parquet"),
        (["VIDEOS", "--runner", "DirectRunner", "--out", "OUT", "--json", "JSON"], 2, "--json is for predicting"),
        (["VIDEOS", "--out", "OUT"], 2, "--beam and --out are for a pipeline"),
        (["VIDEOS/*.avi", "--runner", "DirectRunner", "--out", "OUT"], 1, "no file matches"),
        (["s3://bucket/a.mp4"], 2, "s3://bucket/a.mp4 is in an object store"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(words, code, message, trained_run, videos, tmp_path, capsys):
    places = {"VIDEOS": str(videos), "OUT": str(tmp_path / "scores.parquet"), "JSON": str(tmp_path / "a.json")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    assert main(["predict", str(trained_run), *words]) == code
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "scores.parquet").exists()


def test_a_network_that_is_none_is_said_before_the_pipeline_runs(videos, tmp_path):
    with pytest.raises(KrespError, match="neither a run folder"):
        predict_on(pipeline_options("DirectRunner", []), str(tmp_path), [str(videos)], str(tmp_path / "a.parquet"))
