"""What mkdocs does to the pages: those at the top of the repository join in, links to code become its names."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
TOP = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
HOME = {name: source for source, name in TOP.items()}
LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """The pages at the top, under the names that they have on the site."""
    for source, name in TOP.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they are in the repository, turned to the site's pages; what is no page is left as its text."""
    uri = page.file.src_uri
    folder = PurePosixPath(HOME.get(uri, f"docs/{uri}")).parent

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = normpath(folder / target)
        name = TOP.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(name) is None:
            return text
        return f"[{text}]({'../' * uri.count('/')}{name}{anchor or ''})"

    return LINK.sub(turned, markdown)
