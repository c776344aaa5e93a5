"""Preparing on Beam's DirectRunner, in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from kresp3d.cli.main import main
from kresp3d.config.schema import DataConfig
from kresp3d.distributed.beam.pipeline import pipeline_options
from kresp3d.distributed.beam.prepare import prepare_on
from kresp3d.records import prepare as module
from kresp3d.records.format import damaged
from kresp3d.records.prepare import prepare
from kresp3d.system.errors import KrespError

SEVERAL = ["--runner", "DirectRunner", "--beam", "direct_num_workers=2"]
SEVERAL += ["--beam", "direct_running_mode=multi_processing"]


@pytest.fixture
def videos(tiny_config, tmp_path):
    """Some videos, one of which is none."""
    folder = tmp_path / "videos"
    shutil.copytree(tiny_config["data"]["videos"], folder)
    (folder / "bend" / "g01_bend.mp4").write_bytes(b"no video")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".tfrecord", ".csv")}


def test_the_records_are_those_of_the_local_command(videos, tmp_path, monkeypatch, capfd):
    # Several parts, of which each worker gets some.
    monkeypatch.setattr(module, "VIDEOS_PER_PART", 4)
    values = {"videos": str(videos), "short_side": 32, "max_bad": 0.1, "workers": 1}
    for name, words in (("here", []), ("beam", SEVERAL)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"data": {**values, "records": str(tmp_path / name)}, "model": {"size": 16}}))
        assert main(["data", "prepare", "--config", str(path), *words]) == 0
    here, beam = files(tmp_path / "here"), files(tmp_path / "beam")
    assert here == beam and sum(name.endswith(".tfrecord") for name in here) > 2
    assert capfd.readouterr().out.count("23 videos of 3 classes") == 2
    # The dead letters.
    assert b"bend/g01_bend.mp4,not a video" in beam["prepare-report.csv"]
    # What is whole is not done again, and what is missing is.
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "beam").glob("shard-*.tfrecord")}
    lost = sorted(kept)[0]
    (tmp_path / "beam" / lost).unlink()
    assert main(["data", "prepare", "--config", str(tmp_path / "beam.yaml"), "--runner", "DirectRunner"]) == 0
    assert files(tmp_path / "beam") == here
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "beam").glob("shard-*.tfrecord")}
    assert [name for name in kept if kept[name] != now[name]] == [lost]


@pytest.fixture
def bucket(videos, tmp_path, monkeypatch):
    """The videos in an object store, and Beam's options for it."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys)
    client.create_bucket(Bucket="lake")
    for path in videos.rglob("*.mp4"):
        client.upload_file(str(path), "lake", f"videos/{path.relative_to(videos)}")
    client.put_object(Bucket="lake", Key="videos/README.txt", Body=b"no video")
    yield [
        f"s3_endpoint_url=http://{host}:{port}", "s3_region_name=us-east-1", "s3_access_key_id=key",
        "s3_secret_access_key=secret", "s3_disable_ssl",
    ]  # fmt: skip
    server.stop()


def test_videos_of_an_object_store_become_the_same_records(bucket, videos, tmp_path):
    values = {"group_regex": "(g[0-9]+)_", "short_side": 32, "max_bad": 0.1, "workers": 1}
    there = DataConfig.model_validate({**values, "videos": "s3://lake/videos", "records": str(tmp_path / "there")})
    here = DataConfig.model_validate({**values, "videos": str(videos), "records": str(tmp_path / "here")})
    options = pipeline_options("DirectRunner", bucket)
    found, expected = prepare_on(options, there), prepare(here)
    assert files(tmp_path / "there") == files(tmp_path / "here") and found.videos == expected.videos
    assert list(damaged(found.videos, found.folder, pictures=True)) == []
    before = (tmp_path / "there" / "index.json").stat().st_mtime_ns
    prepare_on(options, there)
    assert (tmp_path / "there" / "index.json").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "there" / "index.json").read_text())["source"] == "s3://lake/videos"
    # Training, which has no pipeline, takes the records as they are; with other settings they are others.
    assert prepare(there).videos == found.videos
    with pytest.raises(KrespError, match=r"s3://lake/videos, out of reach .* by `kresp3d data prepare --runner"):
        prepare(there.model_copy(update={"fps": 5.0}))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--beam", "region=r"], 2, "--beam is for a pipeline; name its --runner too"),
        (["--runner", "DirectRunner", "--beam", "no_such=1"], 2, "Beam knows no option no_such"),
        (["--runner", "NoRunner"], 2, "--runner: "),
        (["--runner", "DirectRunner", "--set", "data.videos=s3://lake/videos"], 2, "say where the records are to be"),
        (
            ["--runner", "DirectRunner", "--set", "data.videos=nope://lake/videos", "--set", "data.records=RECORDS"],
            1,
            "nope://lake/videos/** cannot be listed",
        ),
        (["--set", "data.videos=s3://lake/videos"], 1, "prepare them first by `kresp3d data prepare --runner"),
        (["--set", "data.cache=s3://lake/cache"], 2, "s3://lake/cache is in an object store"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(words, code, message, tiny_config, tmp_path, capsys):
    values = {**tiny_config, "data": {**tiny_config["data"], "cache": str(tmp_path / "cache")}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    words = [word.replace("RECORDS", str(tmp_path / "records")) for word in words]
    assert main(["data", "prepare", "--config", str(tmp_path / "config.yaml"), *words]) == code
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said


def test_a_sentence_of_a_worker_reaches_a_person(tiny_config, tmp_path, capsys, monkeypatch):
    values = {**tiny_config, "data": {**tiny_config["data"], "records": str(tmp_path / "records")}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setattr("kresp3d.distributed.beam.prepare.write_part", _fail)
    words = ["data", "prepare", "--config", str(tmp_path / "config.yaml"), "--runner", "DirectRunner"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "Error: the pipeline failed: the disk of worker 3 is full" in said and "Traceback" not in said


def _fail(*arguments, **options):
    raise KrespError("the disk of worker 3 is full")
