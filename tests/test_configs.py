"""The committed configurations."""

from pathlib import Path

import pytest
import yaml

from kresp3d.config.load import first_comment, packaged_configs
from kresp3d.config.schema import AUTOMATIC, changed_keys, known_keys, load_config, parse_config
from kresp3d.experiments.reproduction.tables import ROWS, row_config
from kresp3d.nn import P3DResNet

FOLDER = Path(__file__).parents[1] / "configs"


def keys_of(values, prefix=""):
    found = []
    for key, value in values.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += keys_of(value, f"{prefix}{key}.")
    return found


#: A folder for each data set, with what its networks share in `base.yaml`, and a file for each network.
PAPER = sorted(path for path in (FOLDER / "paper").iterdir())


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_each_loads_and_says_its_command(path):
    config = load_config(path)
    is_reproduced = path.parent in PAPER and path.name == "base.yaml"
    command = "reproduce" if is_reproduced else "tune" if config.tune.space else "train"
    assert f"kresp3d {command} --config configs/{path.relative_to(FOLDER)}" in path.read_text()
    assert load_config(None) != config


def test_each_comes_with_kresp3d_under_its_name():
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")} == {
        f"{n}.yaml" for n in packaged_configs()
    }
    assert all(FOLDER / f"{name}.yaml" == path for name, path in packaged_configs().items())


@pytest.mark.parametrize("name", packaged_configs())
def test_the_first_line_of_each_is_a_sentence_that_says_what_it_is_for(name):
    line = (FOLDER / f"{name}.yaml").read_text().splitlines()[0]
    assert line.startswith("# ") and line.endswith(".")
    assert first_comment(packaged_configs()[name]) == line[2:]


def test_base_names_every_key_with_what_it_means():
    values = yaml.safe_load((FOLDER / "base.yaml").read_text())
    assert sorted(keys_of(values)) == sorted(known_keys())


def test_ucf101_is_the_papers_network():
    paper = P3DResNet.from_preset("paper", classes=101).get_config()
    assert dict(load_config(FOLDER / "ucf101.yaml").model).items() <= paper.items()


def test_the_defaults_are_those_of_base_and_what_may_be_auto_is():
    base = load_config(FOLDER / "base.yaml")
    assert not base.auto
    differing = changed_keys(load_config(None), base)
    assert {key: mine for key, mine, _ in differing} == {"name": "run", **dict.fromkeys(AUTOMATIC, "auto")}


def test_a_file_that_names_the_videos_alone_trains_as_folder_does():
    bare, folder = parse_config({"data": {"videos": "videos"}}, "the test"), load_config(FOLDER / "folder.yaml")
    assert [key for key, _, _ in changed_keys(bare, folder)] == ["name"]


def test_each_data_set_has_a_file_for_each_of_the_papers_networks():
    assert [folder.name for folder in PAPER] == ["msr-action3d", "synthetic", "ucf101"]
    for folder in PAPER:
        assert {path.stem for path in folder.iterdir()} == {"base", *ROWS}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("folder", PAPER, ids=lambda folder: folder.name)
def test_the_file_of_a_network_is_what_reproduce_trains(folder, row):
    base = load_config(folder / "base.yaml")
    assert base.name == f"paper-{folder.name}"
    assert load_config(folder / f"{row}.yaml") == row_config(base, row)


def test_the_papers_experiments_on_ucf101_are_at_full_scale():
    assert load_config(FOLDER / "paper" / "ucf101" / "both.yaml").model == load_config(FOLDER / "ucf101.yaml").model
    base, full = load_config(FOLDER / "paper" / "ucf101" / "base.yaml"), load_config(FOLDER / "ucf101.yaml")
    assert [key for key, _, _ in changed_keys(full, base)] == ["name", "data.validation"]
