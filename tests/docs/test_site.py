"""The site: mkdocs builds it without a warning, and every link within it leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from one_layer_lt import api

from .shell import ROOT

if not (find_spec("mkdocs") and find_spec("material") and find_spec("mkdocstrings")):
    pytest.skip("the extra docs is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_pages_at_the_top_of_the_repository_are_on_the_site(site: Path) -> None:
    assert "subnetworks of randomly weighted" in (site / "index.html").read_text()
    for name in ("changelog", "contributing", "security"):
        assert (site / name / "index.html").is_file()
    contributing = (site / "contributing" / "index.html").read_text()
    assert 'href="../design/"' in contributing
    assert "docs/design.md)" not in contributing


def test_links_to_code_are_its_names(site: Path) -> None:
    said = (site / "rules" / "index.html").read_text()
    assert "which base.py describes" in said


def test_every_public_name_has_its_docstring_on_the_site(site: Path) -> None:
    said = (site / "reference" / "index.html").read_text()
    documented = [name for name in api.__all__ if callable(getattr(api, name))]
    missing = [name for name in documented if f'id="one_layer_lt.api.{name}"' not in said]
    assert len(documented) > 20
    assert missing == []


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    said = (site / "index.html").read_text()
    assert 'src="http' not in said
    assert "fonts.googleapis" not in said
