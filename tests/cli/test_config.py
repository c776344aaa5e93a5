"""`kresp3d config`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kresp3d.cli.config import command
from kresp3d.cli.main import main
from kresp3d.config.schema import AUTO, Config, changed_keys, load_config, parse_config

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """All of it in an empty folder."""
    monkeypatch.chdir(tmp_path)


def test_a_pipe_gets_a_line_for_each_with_what_it_is_for(capsys):
    assert main(["config", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert sorted(name for name, _ in rows) == NAMES
    for name, purpose in rows:
        assert (CONFIGS / f"{name}.yaml").read_text().startswith(f"# {purpose}\n")
    assert rows[0][0] == "base"


def test_a_terminal_gets_a_table_that_keeps_every_name_and_word(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["config", "list"]) == 0
    head, _, *lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert max(map(len, lines)) <= 80
    rows = []
    for line in lines:
        name, purpose = (part.strip() for part in (line[: head.index("what")], line[head.index("what") :]))
        rows += [[name, purpose]] if name else []
        if not name:
            rows[-1][1] += f" {purpose}"
    assert sorted(name for name, _ in rows) == NAMES
    for name, purpose in rows:
        assert (CONFIGS / f"{name}.yaml").read_text().startswith(f"# {purpose}\n")


def test_a_file_is_shown_as_it_is_written(capfdbinary):
    assert main(["config", "show", "hmdb51"]) == 0
    assert capfdbinary.readouterr().out == (CONFIGS / "hmdb51.yaml").read_bytes()


def test_resolved_shows_every_key_with_the_overrides(capsys):
    assert main(["config", "show", "hmdb51", "--resolved"]) == 0
    whole = yaml.safe_load(capsys.readouterr().out)
    assert set(whole) == set(Config.model_fields) - {AUTO} and set(whole["training"]) == set(
        type(Config().training).model_fields
    )
    assert parse_config(whole, "test") == load_config(CONFIGS / "hmdb51.yaml")
    assert main(["config", "show", "hmdb51", "--set", "data.split=2"]) == 0
    changed = yaml.safe_load(capsys.readouterr().out)
    assert changed == {**whole, "data": {**whole["data"], "split": 2}}


def test_a_file_of_ones_own_is_shown_too(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("extends: tune  # mine\nseed: 4\n")
    assert main(["config", "show", "mine.yaml"]) == 0
    assert capsys.readouterr().out == "extends: tune  # mine\nseed: 4\n"
    assert main(["config", "show", "mine.yaml", "--resolved"]) == 0
    assert parse_config(yaml.safe_load(capsys.readouterr().out), "test") == load_config("tune", ["seed=4"])


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_means_the_same_in_any_folder(name, tmp_path):
    done = CliRunner().invoke(command, ["copy", name, "mine.yaml"], catch_exceptions=False)
    assert done.exit_code == 0 and "--config mine.yaml" in done.output
    original = load_config(CONFIGS / f"{name}.yaml")
    assert changed_keys(load_config(tmp_path / "mine.yaml"), original) == [("name", "mine", original.name)]
    changed = ("extends:", "name:")
    kept = [line for line in (CONFIGS / f"{name}.yaml").read_text().splitlines() if not line.startswith(changed)]
    copied = (tmp_path / "mine.yaml").read_text().splitlines()
    assert [line for line in copied if not line.startswith(changed)] == kept


NAMED = {"mine.yaml": "mine", "two words.yaml": "two-words", ".hidden.yaml": "hidden", "ä.yaml": "run"}


@pytest.mark.parametrize(("file", "name"), NAMED.items())
def test_a_copy_is_called_after_its_file(file, name):
    assert main(["config", "copy", "configs/base.yaml", file]) == 0
    assert load_config(file).name == name


def test_a_copy_extends_by_name(tmp_path):
    for name, parent in (
        ("hmdb51", "ucf101"),
        ("paper/ucf101/rgb", "paper/ucf101/base"),
        ("paper/ucf101/base", "ucf101"),
    ):
        assert main(["config", "copy", name, "mine.yaml", "--overwrite"]) == 0
        assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["extends"] == parent


def test_a_copy_replaces_nothing_unasked(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("seed: 4\n")
    assert main(["config", "copy", "base", "mine.yaml"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == "seed: 4\n"
    assert main(["config", "copy", "base", "mine.yaml", "--overwrite"]) == 0
    assert load_config("mine.yaml").seed == 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "hmdb52"], 2, "did you mean 'hmdb51'?"),
        (["show", "hmdb52", "--resolved"], 2, "did you mean 'hmdb51'?"),
        (["show", "base", "--set", "sed=1"], 2, "did you mean 'seed'?"),
        (["copy", "hmdb52", "mine.yaml"], 2, "did you mean 'hmdb51'?"),
        (["copy", "configs/hmdb52.yaml", "mine.yaml"], 2, "did you mean 'hmdb51'?"),
        (["copy", "base", "none/mine.yaml"], 1, "no folder none"),
    ],
)
def test_mistakes_get_a_sentence_and_leave_no_file(words, code, sentence, tmp_path, capsys):
    assert main(["config", *words]) == code
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and not said.out
    assert not list(tmp_path.iterdir())
