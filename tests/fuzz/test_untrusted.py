"""Artefacts of strangers: loading one runs nothing that it brings along, and writes nowhere."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import keras
import pytest

from kresp3d.cli.main import main
from kresp3d.config.schema import load_config
from kresp3d.inference.open_engine import open_engine
from kresp3d.nn.transforms import fold
from kresp3d.records.index import read_index
from kresp3d.system.errors import KrespError


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A run whose files may be changed."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


def rewrite(path: Path, changed: dict[str, bytes]) -> None:
    """Replace or add members of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | changed
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class Opener:
    """What a pickle of an attacker holds: reading it opens, and so makes, a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def test_the_attack_works_where_it_is_let(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Opener(tmp_path / "opened"))).close()
    assert (tmp_path / "opened").exists()


def test_a_keras_file_with_a_lambda_layer_is_refused(run: Path, tmp_path: Path, capfd) -> None:
    target = tmp_path / "opened"
    name = str(target)
    network = keras.Sequential([keras.Input([2]), keras.layers.Lambda(lambda x: (os.mknod(name), x)[1])])
    target.unlink(missing_ok=True)  # building it has called it
    network.save(run / "model.keras")
    with pytest.raises(KrespError, match=r"model\.keras cannot be loaded \(.*[Ll]ambda"):
        open_engine(run)
    assert main(["predict", str(run), str(run / "report.md")]) == 1
    assert "cannot be loaded" in capfd.readouterr().err
    assert not target.exists()


FOREIGN = [
    *(("builtins", "open"), ("subprocess", "Popen"), ("os", "system")),
    # Of Keras, for a package that is not installed.
    ("keras.layers", "TorchModuleWrapper"),
]


@pytest.mark.parametrize(("module", "name"), FOREIGN)
def test_a_keras_file_that_names_other_code_is_refused(module: str, name: str, run: Path, tmp_path: Path) -> None:
    target = tmp_path / "opened"
    arguments = {"open": {"file": str(target), "mode": "w"}, "Popen": {"args": ["touch", str(target)]}}
    config = arguments.get(name, {"command": f"touch {target}"})
    whole = {"module": module, "class_name": name, "config": config, "registered_name": None}
    fold(keras.models.load_model(run / "model.keras")).save(tmp_path / "folded.keras")
    inside = json.loads(zipfile.ZipFile(tmp_path / "folded.keras").read("config.json"))
    inside["config"]["layers"][1] |= {"module": module, "class_name": name, "config": config}
    for values in (whole, inside):
        rewrite(run / "model.keras", {"config.json": json.dumps(values).encode()})
        with pytest.raises(KrespError, match="cannot be loaded"):
            open_engine(run)
    assert not target.exists()


def test_members_of_an_archive_are_not_unpacked_elsewhere(run: Path, tmp_path: Path) -> None:
    names = ["../evil", "../../evil", str(tmp_path / "evil"), "assets/../../evil"]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    rewrite(run / "model.keras", dict.fromkeys(names, b"evil"))
    open_engine(run)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_description_packed_of_gigabytes_is_not_unpacked(exported_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed; pip install kresp3d[litert]")
    (network,) = exported_run.glob("*.tflite")
    content = network.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        begin = min(entry.header_offset for entry in archive.infolist())
    bomb = io.BytesIO(content[:begin])
    with (
        zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("kresp3d.json", "w", force_zip64=True) as member,
    ):
        for _ in range(64):
            member.write(bytes(2**20))
    path = tmp_path / "bomb.tflite"
    path.write_bytes(bomb.getvalue())
    assert path.stat().st_size < 2**20
    with pytest.raises(KrespError, match="a description of a network that is no text"):
        open_engine(path)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:builtins.open ['{target}', 'w']",
        "data: !!python/object/new:subprocess.Popen [[touch, '{target}']]",
        "name: !!python/name:os.system",
        "data: {{videos: !!python/object/apply:os.system ['touch {target}']}}",
    ],
)
def test_a_configuration_makes_no_objects(text: str, tmp_path: Path) -> None:
    target = tmp_path / "opened"
    path = tmp_path / "config.yaml"
    path.write_text(text.format(target=target))
    with pytest.raises(KrespError, match=r"config\.yaml"):
        load_config(path)
    with pytest.raises(KrespError, match="not valid YAML"):
        load_config(None, ["training.epochs=" + text.format(target=target).split(": ")[-1].rstrip("}")])
    assert not target.exists()


def test_a_configuration_of_aliases_of_aliases_is_refused_in_a_moment(tmp_path: Path) -> None:
    # Ten levels of ten each: written out, ten thousand million values.
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join([*lines, "name: *a9", "data: {classes: *a9}"]))
    with pytest.raises(KrespError, match=r"config\.yaml is not valid YAML: more than 20,000 values"):
        load_config(path)
    for text in ("a: &a [*a]", "a: &a {b: *a}"):
        path.write_text(text)
        with pytest.raises(KrespError, match=r"config\.yaml is not valid YAML: more than 20,000 values"):
            load_config(path)


def test_records_are_data_alone(run: Path, tmp_path: Path, capfd) -> None:
    environment = json.loads((run / "environment.json").read_text())
    records = Path(shutil.copytree(environment["records"], tmp_path / "records"))
    (run / "environment.json").write_text(json.dumps(environment | {"records": str(records)}))
    target = tmp_path / "opened"
    (shard,) = records.glob("*.tfrecord")
    content = pickle.dumps(Opener(target))
    shard.write_bytes(content.ljust(shard.stat().st_size, b"\0"))
    assert main(["evaluate", str(run)]) == 1
    assert "damaged" in capfd.readouterr().err
    assert not target.exists()


def test_an_index_names_no_files_elsewhere(trained_run: Path, tmp_path: Path) -> None:
    records = json.loads((trained_run / "environment.json").read_text())["records"]
    for name in ("index.json", "videos.csv"):
        folder = Path(shutil.copytree(records, tmp_path / name))
        (shard,) = folder.glob("*.tfrecord")
        secret = tmp_path / "secret"
        shutil.copy(shard, secret)
        path = folder / name
        path.write_text(path.read_text().replace(shard.name, "../secret"))
        with pytest.raises(KrespError, match=r"\.\./secret"):
            read_index(folder)
