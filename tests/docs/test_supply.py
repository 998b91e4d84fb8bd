"""The lock, the licences and setup.py agree."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from one_layer_lt import __version__

from .shell import ROOT

LOCK = (ROOT / "requirements" / "test.txt").read_text()
LOCKED = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py tells setuptools."""
    setuptools = pytest.importorskip("setuptools")
    told: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", told.update)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    exec(compile((ROOT / "setup.py").read_text(), str(ROOT / "setup.py"), "exec"), {"__file__": str(ROOT / "setup.py")})
    return told


def named(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return normal(found[0])


def test_every_file_of_the_lock_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip())
    assert len(entries) == len(LOCKED) > 50
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


def test_the_lock_has_all_that_setup_py_asks_for(metadata: dict[str, Any]) -> None:
    extras = metadata["extras_require"]
    asked = [*metadata["install_requires"], *extras["all"], *extras["test"], *extras["docs"]]
    here = {named(text) for text in asked if not re.search(r"python_version < ['\"]3.1[01]['\"]", text)}
    assert here - {normal(name) for name in LOCKED} == set()


def test_users_get_no_tools_for_tests(metadata: dict[str, Any]) -> None:
    extras = metadata["extras_require"]
    every = {named(text) for text in extras["all"]}
    assert every & {named(text) for text in extras["test"] + extras["docs"]} == set()
    assert set(extras) - {"all", "test", "docs"} == {"fairseq", "translate", "data", "vision", "plots"}


def test_the_licence_of_every_locked_package_is_listed() -> None:
    rows = re.findall(r"^\| (\S+) \| (\d\S*) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    listed = {normal(name): version for name, version, _ in rows}
    assert {normal(name): version for name, version in LOCKED.items()} == listed
    assert not [name for name, _, licence in rows if licence in ("", "UNKNOWN")]


def test_the_version_is_the_same_wherever_it_is_named() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version = {{{__version__}}}" in (ROOT / "docs" / "citing.md").read_text()
