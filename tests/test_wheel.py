"""The wheel, installed where there is no clone."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.once]

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
#: A training that takes seconds: 12 short videos, and a network of one block.
TINY = [
    *("data.synthetic.subjects=4", "data.synthetic.videos_per_class=1", "data.synthetic.size=32"),
    *("data.synthetic.seconds=0.5", "data.synthetic.fps=10", "data.classes=[wave, jump, walk]", "data.validation=0.3"),
    *("model.modality=residual", "model.frames=4", "model.size=16", "model.width=4", "model.blocks=[1]", "model.fc1=8"),
    *("training.epochs=2", "training.tensorboard_every=0", "training.tensorboard_clips=0", "evaluation.clips=1"),
]


def call(*words: str | Path, folder: Path) -> str:
    """Run a program in a folder, and give what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, folder=folder)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory):
    """Programs of an environment that has the wheel, and of this one all but the clone."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    # Of folders that are named so, no .pth is read: an editable installation of the clone has no effect.
    Path(packages, "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    python = folder / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    call(sys.executable, "-m", "pip", "--python", python, *install, folder=folder)
    where = call(
        python, "-P", "-c", "import kresp3d, sys; print(kresp3d.__file__, *sys.path, sep='\\n')", folder=folder
    )
    file, *search = where.splitlines()
    assert file == str(Path(packages, "kresp3d", "__init__.py")) and str(ROOT) not in search
    return folder / "bin"


def test_the_wheel_has_every_configuration_as_it_is_in_the_clone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        prefix = "kresp3d/configs/"
        found = {name.removeprefix(prefix): archive.read(name) for name in archive.namelist() if prefix in name}
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert found == {str(path.relative_to(CONFIGS)): path.read_bytes() for path in CONFIGS.rglob("*.yaml")}
    assert sorted(top.partition("-")[0] for top in tops) == ["kresp3d", "kresp3d"]


def test_a_network_is_trained_and_used_by_name_in_an_empty_folder(scripts, tmp_path):
    kresp3d = scripts / "kresp3d"
    names = [line.partition("\t")[0] for line in call(kresp3d, "config", "list", folder=tmp_path).splitlines()]
    assert sorted(names) == sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))

    overrides = [word for override in TINY for word in ("--set", override)]
    call(kresp3d, "train", "--config", "base", *overrides, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "runs"]
    assert (tmp_path / "runs" / "base" / "metrics.json").is_file()

    video = next(path for path in sorted(tmp_path.rglob("*.mp4")))
    said = call(kresp3d, "predict", tmp_path / "runs" / "base", video, folder=tmp_path)
    assert video.name in said and any(label in said for label in ("wave", "jump", "walk"))
