from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time

import pytest

from kresp3d.system import stores
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.system.stores import open_store, s3_environment


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No credentials of whoever runs the tests, and no address but this machine's."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_", "TF_AZURE", "HADOOP")) or name.lower() == "https_proxy":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    open_store.cache_clear()
    yield
    open_store.cache_clear()


@pytest.fixture
def with_tensorflow_io(monkeypatch):
    """As if tensorflow-io were installed and loaded."""
    monkeypatch.setattr(stores, "_check_tensorflow_io", lambda scheme: None)
    monkeypatch.setitem(sys.modules, "tensorflow_io", sys)


@pytest.fixture(scope="module")
def endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="bucket")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_an_unknown_scheme_names_those_that_are_known():
    with pytest.raises(UsageError, match=r"ftp:// is no object store; expected one of s3://, gs://, az://, hdfs://"):
        open_store("ftp", "host")


@pytest.mark.skipif(importlib.util.find_spec("tensorflow_io") is not None, reason="tensorflow-io is installed")
@pytest.mark.parametrize("scheme", ["s3", "az", "hdfs"])
def test_without_tensorflow_io_its_extra_is_named(scheme):
    with pytest.raises(KrespError, match=rf"{scheme}:// takes tensorflow-io.*pip install 'kresp3d\[io\]'"):
        open_store(scheme, "name")


def test_another_tensorflow_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(stores.metadata, "version", lambda name: "2.21.0")
    with pytest.raises(KrespError, match=r"loads with TensorFlow 2\.16 alone, and this is 2\.21\.0"):
        open_store("s3", "bucket")


@pytest.mark.usefixtures("with_tensorflow_io")
def test_a_bucket_that_is_there_is_opened(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("S3_ENDPOINT", endpoint)
    open_store("s3", "bucket")
    with pytest.raises(KrespError, match=r"s3://another: http://127\S+ has no bucket another"):
        open_store("s3", "another")


@pytest.mark.usefixtures("with_tensorflow_io")
def test_missing_credentials_are_named(endpoint, monkeypatch):
    monkeypatch.setenv("S3_ENDPOINT", endpoint)
    with pytest.raises(KrespError, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        open_store("s3", "bucket")


@pytest.mark.usefixtures("with_tensorflow_io")
def test_an_endpoint_that_is_not_there_is_said_at_once(closed_port, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(KrespError, match=r"http://127.0.0.1:\d+ cannot be reached .* check S3_ENDPOINT"):
        open_store("s3", "bucket")


@pytest.mark.usefixtures("with_tensorflow_io")
def test_an_endpoint_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(KrespError, match=r"cannot be reached|does not answer"):
            open_store("s3", "bucket")
        assert time.monotonic() - began < 5


def test_a_check_that_hangs_is_left(monkeypatch):
    monkeypatch.setattr(stores, "LIMIT", 0.1)
    monkeypatch.setitem(stores._CHECKS, "gs", lambda bucket: time.sleep(60))
    with pytest.raises(KrespError, match="gs://bucket does not answer"):
        open_store("gs", "bucket")


@pytest.mark.usefixtures("with_tensorflow_io")
def test_azure_and_hdfs_name_what_they_lack(closed_port, monkeypatch):
    with pytest.raises(KrespError, match="az://account: there are no credentials; set TF_AZURE_STORAGE_KEY"):
        open_store("az", "account")
    with pytest.raises(KrespError, match=r"libhdfs\.so, which cannot be loaded.*HADOOP_HDFS_HOME"):
        open_store("hdfs", f"127.0.0.1:{closed_port}")
    monkeypatch.setattr(stores.ctypes, "CDLL", lambda name: None)
    with pytest.raises(KrespError, match=rf"127\.0\.0\.1:{closed_port} cannot be reached"):
        open_store("hdfs", f"127.0.0.1:{closed_port}")


def test_a_proxy_is_asked_in_place_of_the_store(closed_port, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    with pytest.raises(KrespError, match=rf"gs://bucket: 127\.0\.0\.1:{closed_port} cannot be reached"):
        open_store("gs", "bucket")


def test_a_store_is_called_on_once(monkeypatch):
    calls = []
    monkeypatch.setitem(stores._CHECKS, "gs", calls.append)
    open_store("gs", "bucket")
    open_store("gs", "bucket")
    assert calls == ["bucket"]


@pytest.mark.parametrize(
    ("given", "endpoint", "added"),
    [
        ({}, None, {}),
        ({"S3_ENDPOINT": "http://a:1"}, "http://a:1", {}),
        ({"S3_ENDPOINT": "a:1"}, "https://a:1", {}),
        ({"AWS_ENDPOINT_URL": "http://a:1"}, "http://a:1", {"S3_ENDPOINT": "http://a:1"}),
        (
            {"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:1"},
            "http://b:1",
            {"S3_ENDPOINT": "http://b:1"},
        ),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, None, {"AWS_REGION": "eu-west-1"}),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "us-east-2"}, None, {}),
    ],
)
def test_tensorflow_io_is_told_what_aws_s_tools_are_told(given, endpoint, added):
    environment = dict(given)
    assert s3_environment(environment) == endpoint
    assert environment == {**given, **added}


def test_the_sentence_comes_without_tensorflow():
    code = "import sys; from kresp3d.cli.main import main; main(sys.argv[1:]); sys.exit('tensorflow' in sys.modules)"
    words = ["train", "--config", "configs/base.yaml", "--out", "ftp://host/run"]
    found = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert "ftp:// is no object store" in found.stderr and found.returncode == 0
