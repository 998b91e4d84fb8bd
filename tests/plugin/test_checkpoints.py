"""Checkpoints as a stranger could have written them: refused in one line, and nothing in them is run."""

from __future__ import annotations

import io
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_plugins.checkpoints import UntrustedCheckpoint, load
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import TicketError
from one_layer_lt.errors import UserError

from .running import ONCE, load_state, train


@pytest.fixture
def written(checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of an honest checkpoint with some of its settings changed."""

    def write(part: str = "model", **changes: Any) -> Path:
        state = load_state(checkpoint)
        if part == "state":
            state.update(changes)
        else:
            held = state["cfg"][part]
            (vars(held) if isinstance(held, Namespace) else held).update(changes)
        torch.save(state, tmp_path / "changed.pt")
        return tmp_path / "changed.pt"

    return write


def evil(tmp_path: Path) -> tuple[str, Path]:
    """An expression that leaves a trace when it is evaluated, and the trace."""
    trace = tmp_path / "trace"
    return f"__import__('pathlib').Path({str(trace)!r}).touch() or [(8, 3)]", trace


CHANGES: dict[str, tuple[str, dict[str, Any], str]] = {
    "an architecture that evaluates": ("model", {"arch": "fconv", "_name": "fconv"}, "its architecture is 'fconv'"),
    "another model by name": ("model", {"_name": "lightconv"}, "its architecture is 'lightconv'"),
    "an evaluated option": ("model", {"adaptive_softmax_cutoff": "EVIL"}, "its option adaptive_softmax_cutoff"),
    "an option that attention evaluates": ("model", {"encoder_xformers_att_config": "EVIL"}, "its option encoder_xf"),
    "a file of the reader's": ("model", {"encoder_embed_path": "/etc/passwd"}, "names the file '/etc/passwd'"),
    "a twin of the reader's": ("model", {"scores_from": "/etc/passwd"}, "scores_from names the file"),
    "another task": ("task", {"_name": "language_modeling"}, "its task is 'language_modeling'"),
    "another criterion": ("criterion", {"_name": "wav2vec"}, "its criterion is 'wav2vec'"),
    "an interpolation": ("task", {"data": "${oc.env:HOME}"}, "is to be filled in by '${oc.env:HOME}'"),
    "an object": ("model", {"dropout": torch.zeros(1)}, r"its setting cfg.model.dropout is a Tensor"),
    "options of an older fairseq": ("state", {"args": Namespace(arch="fconv")}, "is of an older fairseq"),
}


def test_a_training_that_a_checkpoint_names_is_not_read(written: Callable[..., Path], tmp_path: Path) -> None:
    """Once scores are there, nothing is taken from where its training went on."""
    (tmp_path / "checkpoint_last.pt").write_bytes(b"no checkpoint: reading it would raise")
    path = written(scores_from="twin.pt", scores_in_checkpoint=True, save_dir=str(tmp_path), restore_file=None)
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert len(models) == 1


@pytest.mark.parametrize("change", CHANGES)
def test_what_this_project_does_not_make_is_refused(
    change: str, written: Callable[..., Path], tmp_path: Path, data: Path
) -> None:
    part, changes, said = CHANGES[change]
    expression, trace = evil(tmp_path)
    changes = {name: expression if value == "EVIL" else value for name, value in changes.items()}
    if change == "an architecture that evaluates":
        changes["encoder_layers"] = expression
    path = written(part, **changes)
    for read in (
        *([] if part == "state" else [load]),
        lambda path: checkpoint_utils.load_checkpoint_to_cpu(str(path)),
        lambda path: checkpoint_utils.load_model_ensemble_and_task([str(path)]),
    ):
        with pytest.raises(UntrustedCheckpoint) as refused:
            read(path)
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(TicketError, match="cannot be loaded"):
        from_checkpoint(path, data)
    assert not trace.exists()


def test_honest_ones_are_read(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    assert load(checkpoint)["cfg"]["task"]["_name"] == "translation"
    flags = [
        "--eval-bleu",
        "--eval-bleu-args",
        '{"beam": 1, "max_len_b": 8}',
        "--best-checkpoint-metric",
        "bleu",
        *ONCE,
    ]
    first = train(data, tmp_path / "run", *flags, updates=3)
    load(first)
    train(data, tmp_path / "run", *flags, updates=5)  # resumed


def pickled(path: Path, content: Any) -> Path:
    """A file of torch's form whose pickle is written by Python's own pickler."""
    torch.save({"model": {}}, path)
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    stream = io.BytesIO()
    pickle.Pickler(stream, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, part in parts.items():
            new.writestr(name, stream.getvalue() if name.endswith("data.pkl") else part)
    return path


class Called:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        np.array([object()], dtype=object),
        Called(np.ndarray, (1 << 40,)),
        Called(np.ndarray, (4,), np.dtype("O"), b"\x41" * 32),
        Called(np.dtype, "O8", False, True),
        np.arange(5),
    ],
    ids=["objects", "too much memory", "pointers from bytes", "type", "an array"],
)
def test_arrays_are_stand_ins(content: Any, tmp_path: Path) -> None:
    """They are never made: what they would hold is neither allocated nor followed."""
    path = pickled(tmp_path / "state.pt", {"model": {}, "extra_state": content})
    try:
        state = load(path)
    except UserError:
        return
    if isinstance(state["extra_state"], np.ndarray):
        assert state["extra_state"].tolist() in ([], [0, 1, 2, 3, 4])


def test_parts_within_parts_are_bounded(checkpoint: Path, tmp_path: Path) -> None:
    shared: list[Any] = ["x"]
    for _ in range(40):
        shared = [shared, shared]  # two to the fortieth, walked one by one
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(90):
        deep = [deep]
    state = load_state(checkpoint)
    for where in ("extra_state", "cfg"):
        for content in (shared, cycle, deep):
            held = (
                {**state, "extra_state": content} if where == "extra_state" else {**state, "cfg": {"common": content}}
            )
            torch.save(held, tmp_path / "held.pt")
            if content is deep:
                with pytest.raises(UserError, match="parts within parts"):
                    load(tmp_path / "held.pt")
            else:
                load(tmp_path / "held.pt")


def test_numbers_of_numpy_s_are_plain_ones(tmp_path: Path) -> None:
    path = pickled(tmp_path / "state.pt", {"model": {}, "best": [np.float64(2.5), np.int64(-7), np.float32(0.5)]})
    assert load(path)["best"] == [2.5, -7, 0.5]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(UserError, match="is damaged, or no fairseq checkpoint"):
        load(tmp_path / "state.pt")
    torch.save({"model": {"weight": 3}}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="its model holds more than tensors"):
        load(tmp_path / "state.pt")
