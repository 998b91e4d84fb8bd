"""The Python code of each page runs, its blocks in their order; and the map of docs/design.md is the tree."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mktestdocs import check_md_file, grab_code_blocks

import one_layer_lt
from one_layer_lt import INITS, RULES, SHARES
from one_layer_lt.maskable import MASKABLE

from .shell import ROOT, pages

TICKET = ROOT / "tests" / "golden" / "tickets" / "translation-sentencepiece.ticket"
SHOWN = [page for page in pages() if "```python\n" in page.read_text()]
REGISTRIES: tuple[dict[Any, Any], ...] = (INITS, RULES, SHARES, MASKABLE)
BEGIN, END = "<!-- tree: top two levels -->\n```\n", "```\n<!-- end of tree -->"
COMING = {"one_layer_lt/cli"}
"""Folders that the map may show before they are there."""


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """What a page registers is forgotten."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before):
        registry.clear()
        registry.update(entries)


@pytest.fixture(autouse=True)
def _quickstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that has a translator's ticket where scripts/quickstart.sh leaves one, and nothing else."""
    folder = tmp_path / "runs" / "quickstart" / "masked-s1"
    folder.mkdir(parents=True)
    shutil.copy(TICKET, folder / "numbers.ticket")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path) -> None:
    check_md_file(page, memory=True)


def test_pages_that_show_code_are_found() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "design.md", ROOT / "docs" / "rules.md"} <= set(SHOWN)


def test_the_page_of_the_api_names_all_of_it() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    imported = {
        alias.name
        for block in grab_code_blocks(page)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "one_layer_lt"
        for alias in node.names
    }
    assert imported == set(one_layer_lt.__all__)
    said = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    for name in set(one_layer_lt.__all__) - {"__version__"}:
        assert any(re.match(rf"`{name}\b", cell) for cell in said), f"no line says what {name} is"


def test_code_that_does_not_run_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nname = 1\n```\n\n```python\nassert name == 2\n```\n")
    with pytest.raises(AssertionError):
        check_md_file(page, memory=True)


def test_the_readme_says_what_its_code_prints(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (code for code in grab_code_blocks((ROOT / "README.md").read_text()) if "summarize(" in code)
    exec(block, {})
    *_, said = capsys.readouterr().out.splitlines()
    assert f"\n# {said}\n" in block, f"it ends with: {said}"


def folders_shown(page: str) -> set[str]:
    """The folders of a map: those in the first column, and, indented, those within them."""
    _, found, rest = page.partition(BEGIN)
    text, ended, _ = rest.partition(END)
    assert found, f"no line {BEGIN!r}"
    assert ended, f"no line {END!r}"
    shown: set[str] = set()
    parent = ""
    for line in text.splitlines():
        name = line.split()[0].rstrip("/")
        indent = len(line) - len(line.lstrip())
        assert indent in (0, 4), f"neither a folder at the top nor one within it: {line!r}"
        shown.add(f"{parent}/{name}" if indent else name)
        parent = parent if indent else name
    return shown


def test_the_map_shows_the_folders_that_git_tracks() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    parents = [Path(line).parts[:-1] for line in listed.stdout.splitlines()]
    tracked = {"/".join(parts[:depth]) for parts in parents for depth in (1, 2) if len(parts) >= depth}
    shown = folders_shown((ROOT / "docs" / "design.md").read_text())
    assert tracked - shown == set(), "add them to the map in docs/design.md"
    assert shown - tracked - COMING == set(), "the map in docs/design.md shows folders that are not there"


def test_no_tracked_module_is_empty() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    empty = [name for name in listed.stdout.split() if not (ROOT / name).stat().st_size]
    assert [name for name in empty if not name.endswith("__init__.py")] == []


def test_a_map_is_read_in_two_levels() -> None:
    page = f"before\n{BEGIN}a/   what\n    b/  is\n    c/  in\nd/   it\n{END}\nafter\n"
    assert folders_shown(page) == {"a", "a/b", "a/c", "d"}
