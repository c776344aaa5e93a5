"""Configuration files, by path or by name, and those that come with kresp3d.

A wheel has them in `kresp3d/configs/`; in a clone, and in an editable installation of one, they are in `configs/`. The
name of one is its path in there without the suffix, such as `base` or `paper/synthetic/rgb`.
"""

from __future__ import annotations

import difflib
import errno
import logging
import os
import re
from collections.abc import Collection
from pathlib import Path

from kresp3d.system.errors import UsageError
from kresp3d.system.storage import location

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
#: How a name is written in a clone.
_IN_CLONE = re.compile(r"configs/(.+)\.yaml")


def packaged_configs() -> dict[str, Path]:
    """Return the configurations that come with kresp3d: name -> file, those at the top first.

    Examples:
        >>> packaged_configs()["base"].name
        'base.yaml'
    """
    folders = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    files = [path.relative_to(folder) for path in folder.rglob("*.yaml")]
    files.sort(key=lambda file: (len(file.parts), file.as_posix()))
    return {file.with_suffix("").as_posix(): folder / file for file in files}


def find_config(config: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Return the file that a person or another file has named.

    A file that exists comes first. Then a name is looked for, also one that is written as in a clone: where there is no
    file `configs/base.yaml`, that is `base`.

    Args:
        config: A path, also in an object store, or the name of a configuration that comes with kresp3d.
        folder: The folder that a relative path starts from; by default the working directory.

    Raises:
        UsageError: If there is neither such a file nor such a name.

    Examples:
        >>> find_config("paper/synthetic/rgb").name
        'rgb.yaml'
    """
    path = location(config) if folder is None else folder / config
    if _is_file(path):
        return path
    configs = packaged_configs()
    as_written = Path(config).as_posix()
    if as_written in configs:
        return configs[as_written]
    in_clone = _IN_CLONE.fullmatch(as_written)
    if in_clone and in_clone[1] in configs:
        logger.info("%s is not here; the configuration named %s is used, which comes with kresp3d", path, in_clone[1])
        return configs[in_clone[1]]
    raise UsageError(f"configuration file not found: {path}; {_nearest(as_written, configs)}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        # Text that is longer than a name may be, most likely a configuration itself.
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def first_comment(path: Path) -> str:
    """Return the text of a file's first line of comment, which says what the file is for; empty where there is none."""
    found = re.search(r"^#\s*(\S.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def detached_text(name: str, own_name: str) -> str:
    """Return the text of a configuration that comes with kresp3d, as it can stand in any folder.

    `extends`, a path relative to the file, becomes a name.

    Args:
        name: Of the configuration, also as it is written in a clone, `configs/base.yaml`.
        own_name: The `name` that the copy is to have, and with it its run folder.

    Raises:
        UsageError: If there is none of that name.
    """
    configs = packaged_configs()
    if in_clone := _IN_CLONE.fullmatch(name):
        name = in_clone[1]
    if name not in configs:
        raise UsageError(f"no configuration of kresp3d is named {name}; {_nearest(name, configs)}")
    path = configs[name]
    names = {file.resolve(): other for other, file in configs.items()}

    def by_name(found: re.Match[str]) -> str:
        return f"extends: {names[find_config(found[1], path.parent).resolve()]}"

    text = re.sub(r"^extends: (\S+)", by_name, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return re.sub(r"^name: \S+", lambda _: f"name: {own_name}", text, flags=re.MULTILINE)


def _nearest(name: str, names: Collection[str]) -> str:
    """Return what to say of an unknown name: those that were probably meant, or where all are."""
    name = name.removeprefix("configs/").removesuffix(".yaml")
    near = [name] if name in names else [other for other in names if other.endswith(f"/{name}")]
    near = near or difflib.get_close_matches(name, names, n=3)
    if not near:
        return "expected a YAML file, or a name from `kresp3d config list`"
    return f"did you mean {' or '.join(repr(other) for other in near)}?"
