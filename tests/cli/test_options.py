from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kresp3d.cli.options import config_options, json_option
from kresp3d.config.schema import Config
from kresp3d.system.errors import UsageError


def make(required: bool, seen: list[Config]) -> click.Command:
    @click.command()
    @config_options(required=required)
    @click.argument("word", default="")
    def command(config: Config, word: str) -> None:
        """Do it."""
        seen.append(config)
        click.echo(word)

    return command


def test_the_command_gets_the_file_with_the_overrides_laid_over(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("seed: 3\nmodel:\n  width: 8\n")
    seen: list[Config] = []
    done = CliRunner().invoke(
        make(True, seen), ["-c", str(path), "--set", "seed=4", "--set", "model.fc1=32", "word"], catch_exceptions=False
    )
    assert done.output == "word\n"
    assert [(c.seed, c.model.width, c.model.fc1) for c in seen] == [(4, 8, 32)]


def test_a_required_file_that_is_not_given_is_bad_usage() -> None:
    done = CliRunner().invoke(make(True, []), [])
    assert done.exit_code == 2
    assert "--config" in done.output


def test_without_a_file_the_defaults_stand_in_where_allowed() -> None:
    seen: list[Config] = []
    assert CliRunner().invoke(make(False, seen), []).exit_code == 0
    assert seen == [Config()]


def test_a_bad_override_raises_the_sentence_for_the_user() -> None:
    with pytest.raises(UsageError, match="unknown key 'sed'; did you mean 'seed'"):
        CliRunner().invoke(make(False, []), ["--set", "sed=1"], catch_exceptions=False)


def test_the_help_explains_both_options() -> None:
    text = CliRunner().invoke(make(True, []), ["--help"]).output
    assert "-c, --config FILE" in text
    assert "--set KEY=VALUE" in text
    assert "Do it." in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "is a directory"),
        ("file/scores.json", "it is a file"),
        ("/proc/scores.json", "cannot write into /proc"),
    ],
)
def test_a_place_for_json_that_cannot_be_is_refused_before_the_work(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    worked = []

    @click.command()
    @json_option("Write here.")
    def command(json_file: Path | None) -> None:
        """Do it."""
        worked.append(json_file)

    done = CliRunner().invoke(command, ["--json", str(tmp_path / name)])
    assert done.exit_code == 2 and not worked
    assert words in done.output
    assert CliRunner().invoke(command, ["--json", str(tmp_path / "new" / "scores.json")]).exit_code == 0
    assert worked == [tmp_path / "new" / "scores.json"]
