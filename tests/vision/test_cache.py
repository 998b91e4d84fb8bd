"""The cache of decoded images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from one_layer_lt.vision.data import load
from one_layer_lt.vision.data.pictures import decode
from tests.support.pictures import BROKEN, TREE, check_tree, packed, refused


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that are decoded during the test."""
    files: list[bytes] = []

    def counting(content: bytes, size: int | None = None) -> Any:
        files.append(content)
        return decode(content, size)

    monkeypatch.setattr("one_layer_lt.vision.data.folder.decode", counting)
    monkeypatch.setattr("one_layer_lt.vision.data.streamed.decode", counting)
    return files


@pytest.mark.parametrize("form", ["folder", ".tar.xz"])
def test_cache(tmp_path: Path, form: str, decoded: list[bytes]) -> None:
    path, cache = packed(tmp_path, form, TREE), tmp_path / "new" / "images.safetensors"

    def read(**how: Any) -> bool:
        """Whether images were decoded."""
        decoded.clear()
        check_tree(load("folder", path, cache=cache, workers=0, **how))
        assert [file.name for file in cache.parent.iterdir()] == [cache.name]
        return bool(decoded)

    assert read()
    assert not read()
    assert read(size=2)  # read otherwise
    assert not read(size=2)
    assert read()
    written = cache.read_bytes()
    for damaged in (b"", written[:-1], written[:50], b"\0" * 100):
        cache.write_bytes(damaged)
        assert read()
    changed = path / "train/cat/1.png" if path.is_dir() else path
    os.utime(changed, (1, 1))
    assert read()
    assert not read()


def test_cache_of_what_was_left_out(tmp_path: Path, decoded: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    path, cache = packed(tmp_path, ".tar", BROKEN), tmp_path / "c"
    load("folder", path, cache=cache, broken="skip")
    decoded.clear()
    caplog.clear()
    check_tree(load("folder", path, cache=cache, broken="skip"))
    assert not decoded
    assert "3 images that cannot be decoded are left out" in caplog.records[0].getMessage()
    refused(lambda: load("folder", path, cache=cache), "3 of 8 images")


def test_cache_that_lies(tmp_path: Path, decoded: list[bytes]) -> None:
    """The right metadata, over other tensors."""
    path, cache = packed(tmp_path, ".tar", TREE), tmp_path / "c"
    load("folder", path, cache=cache)
    with safe_open(cache, "pt") as file:
        about = file.metadata()
    tensors = load_file(cache)
    ((key, value),) = about.items()
    for change in ({"train_labels": tensors["train_labels"] + 1}, {"test": tensors["test"][:1]}):
        save_file({**tensors, **change}, cache, about)
        decoded.clear()
        check_tree(load("folder", path, cache=cache))
        assert decoded
    for other in ("[]", "{", json.dumps({**json.loads(value), "classes": 3})):
        save_file(tensors, cache, {key: other})
        check_tree(load("folder", path, cache=cache))


def test_a_cache_that_cannot_be_written_is_only_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    check_tree(load("folder", packed(tmp_path, ".tar", TREE), cache=tmp_path / "file" / "c"))
    assert "cannot be written" in caplog.records[0].getMessage()
