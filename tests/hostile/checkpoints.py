"""Checkpoints as a stranger could have written them."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from one_layer_lt.errors import UserError
from tests.hostile.engine import ACCEPTED, REFUSED, Case


class Called:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def honest() -> dict[str, Any]:
    model = {"_name": "transformer", "arch": "transformer"}
    config = {"task": {"_name": "translation"}, "criterion": {"_name": "cross_entropy"}, "model": Namespace(**model)}
    return {"cfg": config, "model": {"weight": torch.zeros(40, 40)}, "args": None, "extra_state": {}}


def saved(**changes: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save({**honest(), **changes}, folder / "a.pt")
        return folder / "a.pt"

    return make


def setting(part: str, **changes: Any) -> Callable[[Path], Path]:
    state = honest()
    held = state["cfg"][part]
    (vars(held) if isinstance(held, Namespace) else held).update(changes)
    return saved(cfg=state["cfg"])


def pickled(content: Any, method: int = zipfile.ZIP_STORED, raw: bytes | None = None) -> Callable[[Path], Path]:
    """A file of torch's form, with a pickle of Python's own pickler."""

    def make(folder: Path) -> Path:
        saved()(folder)
        with zipfile.ZipFile(folder / "a.pt") as old:
            parts = {name: old.read(name) for name in old.namelist()}
        stream = io.BytesIO()
        pickle.Pickler(stream, protocol=2).dump(content)
        with zipfile.ZipFile(folder / "a.pt", "w", method) as new:
            for name, part in parts.items():
                new.writestr(name, (raw or stream.getvalue()) if name.endswith("data.pkl") else part)
        return folder / "a.pt"

    return make


def compressed(folder: Path) -> Path:
    """A gigabyte of zeros in a megabyte, written block by block."""
    path = saved(model={"weight": torch.zeros(4)})(folder)
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, part in parts.items():
            if not name.endswith("data/0"):
                new.writestr(name, part)
                continue
            with new.open(name, "w") as file:
                for _ in range(512):
                    file.write(bytes(1 << 20))
    return path


def plain(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "a.pt").write_bytes(content)
        return folder / "a.pt"

    return make


def read(path: Path) -> None:
    """As all commands do, and what they do next: copy the model."""
    from fairseq_plugins.checkpoints import load

    for mmap in (False, True):
        for tensor in load(path, mmap)["model"].values():
            tensor.clone()


def flips(path: Path) -> tuple[int, int]:
    raw, chance, refused, tried = path.read_bytes(), random.Random(1), 0, 400
    for _ in range(tried):
        odd = bytearray(raw)
        for _ in range(chance.choice([1, 1, 3, 30])):
            odd[chance.randrange(len(odd))] ^= 1 << chance.randrange(8)
        path.write_bytes(odd)
        try:
            read(path)
        except UserError:
            refused += 1
    return tried, refused


def nested(depth: int) -> Any:
    held: list[Any] = []
    for _ in range(depth):
        held = [held]
    return held


def cases() -> list[Case]:
    evil = "__import__('pathlib').Path('trace').touch() or [(8, 3)]"
    shared: list[Any] = ["x"]
    for _ in range(40):
        shared = [shared, shared]
    small = torch.zeros(1)
    made: list[tuple[str, Callable[[Path], Path], str | None]] = [
        ("a call of the system", pickled(Called(os.system, "touch trace")), REFUSED),
        ("a call of eval", pickled(Called(eval, evil)), REFUSED),
        ("a call of the system in a plain pickle", plain(pickle.dumps(Called(os.system, "touch trace"), 2)), REFUSED),
        ("an array of objects", pickled({"model": {}, "x": np.array([object()], dtype=object)}), REFUSED),
        (
            "an array from a pointer",
            pickled({"model": {}, "x": Called(np.ndarray, (4,), np.dtype("O"), b"A" * 32)}),
            None,
        ),
        ("16 GiB by name", pickled({"model": {"x": Called(torch.FloatTensor, 1 << 32)}}), REFUSED),
        ("16 GiB of bytes", pickled({"model": {}, "x": Called(bytearray, 1 << 34)}), REFUSED),
        ("a tensor of 10^12 numbers seen in one", saved(model={"x": small.expand(10**6, 10**6)}), REFUSED),
        ("100 tensors, each all of the file", saved(model={f"x{n}": small.expand(8000) for n in range(100)}), REFUSED),
        ("a sparse tensor", saved(model={"x": torch.zeros(9, 9).to_sparse()}), REFUSED),
        ("a tensor without its numbers", saved(model={"x": torch.empty(10**6, 10**6, device="meta")}), REFUSED),
        ("parts nested 500 deep", saved(extra_state=nested(400)), REFUSED),
        ("2^40 parts", saved(extra_state=shared), ACCEPTED),
        ("2^40 settings", saved(cfg={"common": shared}), None),
        ("a note numbered 2^31", pickled(None, raw=b"\x80\x02}r\xff\xff\xff\x7f."), REFUSED),
        ("text of 2^31 bytes in ten", pickled(None, raw=b"\x80\x02X\xff\xff\xff\x7fab."), REFUSED),
        ("half a gigabyte of zeros, compressed", compressed, REFUSED),
        (
            "a model that evaluates its options",
            setting("model", _name="fconv", arch="fconv", encoder_layers=evil),
            REFUSED,
        ),
        ("an option that is evaluated", setting("model", adaptive_softmax_cutoff=evil), REFUSED),
        ("another task", setting("task", _name="language_modeling"), REFUSED),
        ("a file of the reader's", setting("model", encoder_embed_path="/etc/passwd"), REFUSED),
        ("an interpolation", setting("task", data="${oc.env:HOME}"), REFUSED),
        ("a setting that drives terminals", setting("task", _name="\x1b[2J\n\x07"), REFUSED),
        ("an empty file", plain(b""), REFUSED),
        ("a zip of nothing", plain(b"PK\x05\x06" + bytes(18)), REFUSED),
        ("text", plain(b"hello\n" * 1000), REFUSED),
    ]
    found = [Case(name, make, read, outcome, slow=name.startswith("half")) for name, make, outcome in made]
    return [*found, Case("bits flipped", saved(), flips, ACCEPTED)]
