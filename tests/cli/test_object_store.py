"""Records, a run and its exports in an object store: a server of the S3 protocol on this machine."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_io") is None,
    reason="s3:// takes tensorflow-io, which is not installed; pip install 'kresp3d[io]'",
)


class Store:
    """The server, and `kresp3d` in processes of its own: tensorflow-io aborts those that used it when they end."""

    def __init__(self, endpoint: str, place: Path) -> None:
        import boto3

        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        self.environment = os.environ | keys | {"S3_ENDPOINT": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
        self.environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(place)}
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

    def start(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kresp3d", *map(str, words)]
        return subprocess.Popen(
            command, env=self.environment | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *words: object, code: int = 0, **environment: str) -> str:
        """Run a command; gives what it printed."""
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        assert "terminate called" not in err
        return out + err

    def sizes(self, prefix: str) -> dict[str, int]:
        """Name below the prefix -> bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{prefix}/")
        found = (item for page in pages for item in page.get("Contents", []))
        return {item["Key"].removeprefix(f"{prefix}/"): item["Size"] for item in found}

    def shards(self, prefix: str) -> dict[str, int]:
        """Shard -> bytes."""
        return {name: size for name, size in self.sizes(prefix).items() if name.endswith(".tfrecord")}

    def read(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket="bucket", Key=name)["Body"].read()
        return content


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Store(f"http://{host}:{port}", tmp_path_factory.mktemp("temporary"))
    made.client.create_bucket(Bucket="bucket")
    yield made
    server.stop()


@pytest.fixture(scope="module")
def write_config(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def write(records: str, **sections: Any) -> Path:
        values = {**tiny_config, **{name: {**tiny_config[name], **section} for name, section in sections.items()}}
        values["data"] = {**values["data"], "records": records}
        path = tmp_path_factory.mktemp("config") / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.fixture(scope="module")
def trained(store: Store, write_config: Callable[..., Path]) -> str:
    """A run in the store; its name there."""
    store.run("train", "--config", write_config("s3://bucket/records", data={"memory": 0}), "--out", "s3://bucket/run")
    return "run"


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def test_training_leaves_in_the_store_what_it_leaves_on_a_disk(store, trained, trained_run, write_config):
    found = store.sizes(trained)
    usual = {str(path.relative_to(trained_run)) for path in trained_run.rglob("*") if path.is_file()}
    # Event files are named after the time, and checkpoints after their epoch.
    fixed = {name for name in usual if not name.startswith(("logs/", "checkpoints/", ".lock"))}
    assert fixed <= found.keys()
    assert {"checkpoints/epoch-2.index", "checkpoints/epoch-2.data-00000-of-00001"} <= found.keys()
    # One of the settings, one of the training, and one of the test videos.
    events = [name.rpartition(".")[2] for name in found if name.startswith("logs/events")]
    assert sorted(end for end in events if not end.isdigit()) == ["settings", "test"] and len(events) == 3
    assert not [name for name in found if ".part" in name or ".lock" in name]
    assert all(found.values())
    assert json.loads(store.read("records/index.json"))["shards"] == store.shards("records")
    words = store.run("data", "prepare", "--config", write_config("s3://bucket/records"))
    assert "Preparing" not in words and "24 videos" in words
    assert not list(Path(store.environment["TMPDIR"]).glob("kresp3d-*"))


def test_the_same_is_trained_from_the_store_and_from_a_disk(store, trained, write_config, tmp_path):
    config = write_config(str(tmp_path / "records"), data={"memory": 0})
    store.run("train", "--config", config, "--out", tmp_path / "run")
    there = list(csv.DictReader(io.StringIO(store.read(f"{trained}/history.csv").decode())))
    here = list(csv.DictReader(io.StringIO((tmp_path / "run" / "history.csv").read_text())))
    assert [row["loss"] for row in there] == pytest.approx([row["loss"] for row in here], abs=0) and len(here) == 2


def test_an_export_is_measured_and_used_where_it_is(store, trained, tiny_config):
    words = store.run(
        "export", f"s3://bucket/{trained}", "--to", "s3://bucket/exported", "--format", "saved_model",
        "--format", "openvino", "--videos", 3,
    )  # fmt: skip
    assert "Exported to s3://bucket/exported" in words
    found = store.sizes("exported")
    assert {"1/saved_model.pb", "tiny.xml", "tiny.bin", "parity.json", "models.config"} <= found.keys()
    assert not [name for name in found if name.startswith(".")]
    assert "Report: s3://bucket/exported/" in store.run("evaluate", "s3://bucket/exported")
    measured = json.loads(store.read("exported/1-evaluation-test/metrics.json"))
    assert measured["clip_top1"] == json.loads(store.read(f"{trained}/metrics.json"))["clip_top1"]
    video = next(Path(tiny_config["data"]["videos"]).glob("*/*.mp4"))
    store.run("predict", "s3://bucket/exported/tiny.xml", video, "--json", "s3://bucket/scores.json")
    assert json.loads(store.read("scores.json"))[0]["path"] == str(video)


def test_a_killed_training_goes_on(store, write_config):
    config = write_config("s3://bucket/records", training={"epochs": 60, "tensorboard_every": 0})
    process = store.start("train", "--config", config, "--out", "s3://bucket/killed")
    wait_for(lambda: "checkpoints/epoch-2.index" in store.sizes("killed"), process)
    other = store.run("train", "--config", config, "--out", "s3://bucket/killed", "--resume", code=1)
    assert "another process is training in s3://bucket/killed" in other and f"process {process.pid} on" in other
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = max(int(name.split("-")[1].split(".")[0]) for name in store.sizes("killed") if name.endswith(".index"))
    assert done < 60, "it had ended by itself"
    words = store.run("train", "--resume", "--out", "s3://bucket/killed", "--until", done + 2)
    assert f"resuming after epoch {done}" in words
    history = list(csv.DictReader(io.StringIO(store.read("killed/history.csv").decode())))
    assert [int(row["epoch"]) for row in history] == list(range(1, done + 3))


def test_a_sweep_keeps_its_journal_and_logs_there(store, write_config):
    space = {"trials": 2, "oracle": "grid", "space": {"training.momentum": {"choice": [0.5, 0.9]}}}
    config = write_config("s3://bucket/records", training={"epochs": 1, "tensorboard_every": 0})
    config.write_text(config.read_text() + yaml.safe_dump({"tune": space}))
    store.run("tune", "--config", config, "--out", "s3://bucket/sweep")
    found = store.sizes("sweep")
    assert {"journal.jsonl", "trials.csv", "best.yaml", "report.md", "sweep.yaml"} <= found.keys()
    assert not [name for name in found if ".lock" in name or "checkpoints" in name]
    events = [json.loads(line)["event"] for line in store.read("sweep/journal.jsonl").splitlines()]
    assert events == ["begun", "ended"] * 2
    logs = [name for name in found if name.endswith("seed-0.log")]
    assert len(logs) == 2 and all(b"Trained 1 epochs" in store.read(f"sweep/{name}") for name in logs)
    assert "holds a sweep already" in store.run("tune", "--config", config, "--out", "s3://bucket/sweep", code=1)


def test_a_killed_preparation_leaves_no_half_shard(store, tiny_config, tmp_path):
    videos = tmp_path / "videos"
    for copy in range(20):
        for video in Path(tiny_config["data"]["videos"]).glob("*/*.mp4"):
            target = videos / video.parent.name / f"{copy}-{video.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(video)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"data": {"videos": str(videos), "records": "s3://bucket/half", "workers": 1}}))
    process = store.start("data", "prepare", "--config", config)
    wait_for(lambda: store.shards("half"), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = store.sizes("half")
    assert "index.json" not in found, "it had ended by itself"
    for name in (name for name in found if name.endswith(".json")):
        shards = json.loads(store.read(f"half/{name}"))["shards"]
        assert shards == {shard: found[shard] for shard in shards}
    assert "480 videos" in store.run("data", "prepare", "--config", config)
    assert json.loads(store.read("half/index.json"))["shards"] == store.shards("half")


def test_a_store_that_is_not_there_is_said_within_seconds(store, write_config):
    words = ("train", "--config", write_config("s3://bucket/records"), "--out", "s3://bucket/run")
    began = time.monotonic()
    found = store.run(*words, code=1, S3_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - began < 5
    assert found.startswith("Error: s3://bucket: http://127.0.0.1:9 cannot be reached")
    assert found.count("\n") == 1
    assert "no bucket nowhere" in store.run("evaluate", "s3://nowhere/run", code=1)
    assert "s3://bucket/none is no run folder" in store.run("export", "s3://bucket/none", code=1)


def test_a_run_in_the_store_is_not_overwritten(store, trained, write_config):
    words = ("train", "--config", write_config("s3://bucket/records"), "--out", f"s3://bucket/{trained}")
    assert "holds a run already" in store.run(*words, code=1)
    before = store.sizes(trained)
    assert "holds something that is no part of a run" in store.run(*words[:-1], "s3://bucket/records", code=1)
    assert store.sizes(trained) == before
