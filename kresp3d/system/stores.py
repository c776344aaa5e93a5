"""Whether an object store can be used from here, said in seconds and in one sentence.

TensorFlow's file systems try a store that does not answer again and again: an S3 endpoint that is not there was seen to
take 53 seconds. So each store is called on once, by other means, before TensorFlow first does.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Mapping, MutableMapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from kresp3d.system.address import Address
from kresp3d.system.ending import end_at_once
from kresp3d.system.errors import KrespError, UsageError

#: Seconds that a store has to answer.
LIMIT = 4.0
#: Those of each attempt.
_TIMEOUT = 2.0
#: The release that tensorflow-io 0.37.1, its last, was built against.
IO_TENSORFLOW = "2.16"

_S3_KEYS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws; S3_ENDPOINT or AWS_ENDPOINT_URL for a store "
    "that is not Amazon's"
)


@functools.cache
def open_store(scheme: str, authority: str) -> None:
    """Make a store ready for `tf.io.gfile`.

    Args:
        scheme: Such as `s3`.
        authority: What follows it: a bucket, for Azure an account, for HDFS a name node.

    Raises:
        UsageError: If the scheme is none that is known, or nothing follows it.
        KrespError: If the scheme takes tensorflow-io, which is not installed or does not load with this TensorFlow; if
            the store cannot be reached or refuses the credentials, or there are none.
    """
    check = _CHECKS.get(scheme)
    if check is None:
        known = ", ".join(f"{name}://" for name in _CHECKS)
        raise UsageError(f"{scheme}:// is no object store; expected one of {known}, or a folder of this machine")
    if not authority:
        raise UsageError(f"{scheme}:// names no {_AUTHORITIES[scheme]}; expected {scheme}://NAME/FOLDER")
    if scheme in _OF_TENSORFLOW_IO:
        _check_tensorflow_io(scheme)
    _within(LIMIT, lambda: check(authority), f"{scheme}://{authority}")
    if scheme in _OF_TENSORFLOW_IO:
        # Tells TensorFlow of its file systems.
        import tensorflow_io  # noqa: F401

        # Threads of its S3 client outlive what they use when a process ends in Python's way: "pure virtual method
        # called", and 134 for every exit code.
        end_at_once()


def _check_tensorflow_io(scheme: str) -> None:
    if importlib.util.find_spec("tensorflow_io") is None:
        raise KrespError(
            f"{scheme}:// takes tensorflow-io, which is not installed; pip install 'kresp3d[io]', which brings the "
            f"TensorFlow that it needs ({IO_TENSORFLOW})"
        )
    version = metadata.version("tensorflow")
    if not version.startswith(f"{IO_TENSORFLOW}."):
        raise KrespError(
            f"{scheme}:// takes tensorflow-io, which loads with TensorFlow {IO_TENSORFLOW} alone, and this is "
            f"{version}; pip install 'kresp3d[io]' in an environment of its own"
        )


def _within(seconds: float, check: Callable[[], None], store: str) -> None:
    """Run a check, for so long at most: looking up a name has no limit of its own."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            check()
        except Exception as error:  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise KrespError(f"{store} does not answer within {seconds:.0f} seconds; check the network and the address")
    if errors:
        raise errors[0]


def _check_s3(bucket: str) -> None:
    import botocore.config
    import botocore.exceptions
    import botocore.session

    store = f"s3://{bucket}"
    endpoint = s3_environment(os.environ)
    where = endpoint or "Amazon S3"
    session = botocore.session.get_session()
    session.set_config_variable("metadata_service_timeout", 1)
    session.set_config_variable("metadata_service_num_attempts", 1)
    try:
        client = session.create_client(
            "s3",
            region_name=os.environ.get("AWS_REGION", "us-east-1"),
            endpoint_url=endpoint,
            verify=os.environ.get("S3_CA_FILE") or os.environ.get("S3_VERIFY_SSL") != "0",
            config=botocore.config.Config(
                connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT, retries={"total_max_attempts": 1}
            ),
        )
        client.head_bucket(Bucket=bucket)
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError):
        raise KrespError(f"{store}: there are no credentials; set {_S3_KEYS}") from None
    except botocore.exceptions.ClientError as error:
        code = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == 404:
            raise KrespError(f"{store}: {where} has no bucket {bucket}; make it, or name another one") from None
        if code in (301, 307):
            region = error.response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "another one")
            raise KrespError(f"{store}: the bucket is in the region {region}; set AWS_REGION to it") from None
        raise KrespError(
            f"{store}: {where} refuses the credentials or lacks the right to list the bucket (HTTP {code}); check "
            f"{_S3_KEYS}"
        ) from None
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise KrespError(f"{store}: {where} cannot be reached ({reason}); check S3_ENDPOINT and the network") from None


def s3_environment(environment: MutableMapping[str, str]) -> str | None:
    """The endpoint of S3, `None` for Amazon's own; what AWS's tools are told of it is told to tensorflow-io, too.

    Args:
        environment: The variables; those that tensorflow-io reads are added where AWS's stand for them.
    """
    if region := environment.get("AWS_DEFAULT_REGION"):
        environment.setdefault("AWS_REGION", region)
    standard = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    endpoint = environment.get("S3_ENDPOINT") or standard
    if endpoint is None:
        return None
    environment.setdefault("S3_ENDPOINT", endpoint)
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def _check_azure(account: str) -> None:
    store = f"az://{account}"
    if os.environ.get("TF_AZURE_USE_DEV_STORAGE"):
        _connect(store, "127.0.0.1", 10000)
        return
    if not any(os.environ.get(f"TF_AZURE_STORAGE_{name}") for name in ("KEY", "SAS")):
        raise KrespError(
            f"{store}: there are no credentials; set TF_AZURE_STORAGE_KEY to a key of the account, or "
            "TF_AZURE_STORAGE_SAS to a token"
        )
    endpoint = os.environ.get("TF_AZURE_STORAGE_BLOB_ENDPOINT", "blob.core.windows.net")
    _connect(store, f"{account}.{endpoint}", 443)


def _check_google(bucket: str) -> None:
    _connect(f"gs://{bucket}", "storage.googleapis.com", 443)


def _check_hdfs(name_node: str) -> None:
    store = f"hdfs://{name_node}"
    library = Path(os.environ.get("HADOOP_HDFS_HOME", ""), "lib", "native", "libhdfs.so")
    try:
        ctypes.CDLL(str(library) if library.is_file() else library.name)
    except OSError as error:
        raise KrespError(
            f"{store}: tensorflow-io takes Hadoop's libhdfs.so, which cannot be loaded ({error}); set HADOOP_HDFS_HOME "
            "to a folder that has lib/native/libhdfs.so, and CLASSPATH by `hadoop classpath --glob`"
        ) from None
    host, _, port = name_node.partition(":")
    if name_node != "default":
        _connect(store, host, int(port or 8020))


def _connect(store: str, host: str, port: int) -> None:
    """Open a connection, to a proxy where one is set, and close it again."""
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy and host != "127.0.0.1":
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port = parts.hostname or host, parts.port or 3128
    address = Address(host, port)
    reason = address.unreachable(_TIMEOUT)
    if reason is not None:
        raise KrespError(f"{store}: {address} cannot be reached ({reason}); check the network and the address")


_CHECKS: Mapping[str, Callable[[str], None]] = {
    "s3": _check_s3,
    "gs": _check_google,
    "az": _check_azure,
    "hdfs": _check_hdfs,
}
_OF_TENSORFLOW_IO = frozenset({"s3", "az", "hdfs"})
_AUTHORITIES = {"s3": "bucket", "gs": "bucket", "az": "account", "hdfs": "name node"}
