"""The packages that stand beside this one: imported when they are needed, unless another one hides them."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from one_layer_lt import TicketError, version
from one_layer_lt.ticket import companions
from one_layer_lt.ticket.companions import companion


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the one that holds the packages, which none has imported yet."""
    monkeypatch.setattr(companions, "HOME", tmp_path / "home")
    monkeypatch.setattr(sys, "path", [])
    for name in companions.BESIDE:
        (tmp_path / "home" / name).mkdir(parents=True)
        for module in [module for module in sys.modules if f"{module}.".startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, module)
    return tmp_path / "home"


def put(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> ModuleType:
    """A package of that name, imported from ``folder``."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__spec__.submodule_search_locations = [str(folder)]
    module.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_a_package_in_its_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, "data_prep", home / "fairseq_plugins" / ".." / "data_prep")
    plugins = put(monkeypatch, "fairseq_plugins", home / "fairseq_plugins")
    assert companion("fairseq_plugins") is plugins


@pytest.mark.parametrize("name", ["fairseq_plugins", "data_prep"])
def test_an_imported_package_of_the_same_name(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each hides what it takes, too, and neither hides this package's own modules."""
    for package in companions.BESIDE:
        put(monkeypatch, package, home.parent if package == name else home / package)
    with pytest.raises(TicketError, match=f"^{home.parent} hides this project's own {name}: rename it"):
        companion("fairseq_plugins.ticket")
    assert companion("one_layer_lt.version") is version


@pytest.mark.parametrize("file", ["data_prep/__init__.py", "data_prep.py"])
def test_one_that_would_be_imported(home: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    hiding = home.parent / "work" / file
    hiding.parent.mkdir(parents=True)
    hiding.touch()
    monkeypatch.setattr(sys, "path", [str(home.parent / "work")])
    hidden = hiding if file == "data_prep.py" else hiding.parent
    with pytest.raises(TicketError, match=f"^{hidden} hides this project's own data_prep"):
        companion("data_prep.lib")


def test_without_a_package_of_its_own_nothing_is_hidden(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in companions.BESIDE:
        (home / package).rmdir()
    package = put(monkeypatch, "data_prep", home.parent)
    assert companion("data_prep") is package


def test_nothing_to_import(home: Path) -> None:
    with pytest.raises(TicketError, match=r"^fairseq_plugins is not installed: pip install 'one_layer_lt\[fairseq\]'"):
        companion("fairseq_plugins.ticket")
