from __future__ import annotations

import subprocess

import pytest

from kresp3d.system import version
from kresp3d.system.version import __version__, described_version


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one commit, of which the package is a part."""
    file = tmp_path / "kresp3d" / "system" / "version.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    monkeypatch.setattr(version, "__file__", str(file))

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "Begin")
    return file, git("rev-parse", "HEAD")


def test_a_clone_names_its_commit(clone):
    file, commit = clone
    found = described_version()
    assert found.startswith(f"{__version__} (commit {commit[:7]}") and "changes" not in found
    file.write_text("changed")
    assert described_version().endswith(", with changes)")


def test_an_installation_has_a_release_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "__file__", str(tmp_path / "kresp3d" / "system" / "version.py"))
    assert described_version() == __version__


def test_without_git_the_release_is_known_all_the_same(clone, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert described_version() == __version__
