"""For the site: links from a page to a file of the repository lead to the repository."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of a page that lead out of `docs/`, and those of included files that lead into it."""
    root, docs = Path(config["config_file_path"]).parent, Path(config["docs_dir"])
    folder = Path(page.file.src_uri).parent

    def rewrite(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        path = os.path.normpath(docs / folder / target)
        if Path(path).exists() and Path(path).is_relative_to(docs):
            return match[0]
        # An included file, such as CHANGELOG.md, names its links from the root.
        from_root = root / target
        if from_root.exists() and from_root.is_relative_to(docs):
            return f"]({os.path.relpath(from_root, docs / folder)}{anchor})"
        if Path(path).exists():
            return f"]({config['repo_url']}/blob/main/{Path(path).relative_to(root).as_posix()}{anchor})"
        return match[0]

    return _LINK.sub(rewrite, markdown)
