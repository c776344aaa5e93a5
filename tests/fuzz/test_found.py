"""Input that was found by fuzzing (`scripts/fuzz.py`) to get anything but a sentence; each gets one now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

from kresp3d.config.schema import DataConfig, load_config
from kresp3d.datasets.catalog import load_catalog
from kresp3d.records.format import DAMAGE, parse_record
from kresp3d.records.index import COLUMNS, read_index
from kresp3d.system.errors import KrespError


@pytest.mark.parametrize(
    "text",
    [
        "name: !!int x",
        "name: 2001-99-99",
        "name: !!float e",
        "name: !!timestamp x",
        "name: !!bool x",
        "name: !!int ''",
        "name: !!set x",
        "name: !!binary '*'",
        "? [a]\n: b",
        "[" * 5000,
        "data: {classes: " + "{a: " * 2000,
        "name: 'a\0b'",
        "\ufeff- ",
        "name: &a [*b]",
    ],
)
def test_yaml_of_values_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(KrespError, match=r"config\.yaml") as caught:
        load_config(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["~2.mp4", "~root/x.mp4", "a\0b.mp4", "long" * 100 + ".mp4"])
def test_a_csv_with_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    path = tmp_path / "videos.csv"
    path.write_text(f"path,label\n{name},run\n")
    with pytest.raises(KrespError, match="none of its videos exists"):
        load_catalog(DataConfig(videos=str(path)))


@pytest.mark.parametrize(
    "row",
    [
        "a.mp4,run,g1,tost,45,96,128,shard-00000.tfrecord,0,50",
        "a.mp4,run,g1,train,-45,96,128,shard-00000.tfrecord,0,50",
        "a.mp4,run,g1,train,45,0,128,shard-00000.tfrecord,0,50",
        "a.mp4,run,g1,train,45,96,128,shard-00000.tfrecord,-1,50",
        "a.mp4,run,g1,train,4_5,96,128,shard-00000.tfrecord,0," + "9" * 5000,
    ],
)
def test_a_table_of_records_with_values_that_cannot_be(row: str, tmp_path: Path) -> None:
    (tmp_path / "shard-00000.tfrecord").write_bytes(bytes(100))
    index = {"format": 1, "videos": 1, "classes": ["run"], "settings": {}, "shards": {"shard-00000.tfrecord": 100}}
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "videos.csv").write_text(",".join(COLUMNS) + "\n" + row + "\n")
    with pytest.raises(KrespError, match="cannot be read"):
        read_index(tmp_path)


def test_an_entry_that_is_none_and_no_text() -> None:
    # TensorFlow quotes it in its message, of which Python makes no text.
    with pytest.raises(DAMAGE):
        parse_record(tf.constant(b"\xd5\x01"))
