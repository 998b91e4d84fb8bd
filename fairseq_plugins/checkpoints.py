"""fairseq's checkpoints, read as a stranger's: nothing in one is run, and it names nothing but what this project makes.

torch loads them with ``weights_only``. But fairseq then builds the model that a checkpoint names, and some of its
models evaluate strings of their options. So whatever reads a checkpoint, here or in fairseq's own commands, goes
through ``check_checkpoint`` before fairseq sees it.
"""

from __future__ import annotations

import argparse
import math
import pickle
import struct
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from fairseq import checkpoint_utils
from fairseq.models import ARCH_MODEL_NAME_REGISTRY
from torch import Tensor

from one_layer_lt.errors import UserError
from one_layer_lt.files import write_state
from one_layer_lt.ticket import TicketError, load_ticket

ARCHITECTURES = ("one_layer_masked", "transformer")  # and their named sizes
TASKS = ("translation",)
CRITERIONS = (
    *("label_smoothed_cross_entropy", "label_smoothed_cross_entropy_with_rdrop", "cross_entropy"),
    "distilled_cross_entropy",
)
# Endings of options that fairseq's Transformer evaluates as Python, and of those whose files it would open.
EVALUATED = ("cutoff", "att_config")
OPENED = ("embed_path",)
_MOST = 1_000_000  # parts that settings and states may have
_DEEPEST = 50
_MOST_TIED = 16  # times that one tensor may be in a model
_FORMATS = {"b1": "?", "i4": "<i", "i8": "<q", "f4": "<f", "f8": "<d"}  # numpy's code of a type -> that of struct
_PLAIN = (type(None), bool, int, float, str)


class UntrustedCheckpoint(UserError):
    """A checkpoint that names what this project does not make."""


def load(path: Path, mmap: bool = False) -> dict[str, Any]:
    """A checkpoint's contents on the CPU, checked. Nothing that it holds is run.

    Raises ``UserError`` where it is damaged or no checkpoint of fairseq, ``UntrustedCheckpoint`` as
    ``check_checkpoint``, and ``OSError`` where there is nothing to read.
    """
    allow_fairseq_checkpoints()
    with path.open("rb"):  # what cannot be read at all is the usual error
        pass
    try:
        _check_stored(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UserError:
        raise
    except Exception as error:  # torch raises whatever it stumbles over
        raise UserError(f"{path} is damaged, or no fairseq checkpoint{_advice(path)}") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise UserError(f"{path} is no fairseq checkpoint: it holds no model")
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state["model"].items()):
        raise UserError(f"{path} is no fairseq checkpoint: its model holds more than tensors")
    _check_tensors(state["model"], path)
    check_checkpoint(state, path)
    return {name: part if name == "cfg" else _with_arrays(part) for name, part in state.items()}


def _check_stored(path: Path) -> None:
    """torch stores what it writes as it is, but would unpack a stranger's bomb."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise UserError(f"{path} is no fairseq checkpoint: its parts are compressed")


def _check_tensors(model: dict[str, Tensor], path: Path) -> None:
    """A few bytes can be seen as a tensor of any size: refuse what is no plain tensor, or larger than the file."""
    size = path.stat().st_size
    seen = 0
    for name, tensor in model.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise UserError(f"{path} is no fairseq checkpoint: {name!r:.60} is no plain tensor")
        seen += tensor.nbytes
        if tensor.nbytes > size or seen > _MOST_TIED * size:
            raise UserError(f"{path} is no fairseq checkpoint: its tensors are larger than the file")


def _advice(path: Path) -> str:
    """What else the file may be: torch would advise to load it unsafely."""
    try:
        load_ticket(path)
    except (TicketError, OSError):
        return ""
    return ": it is a ticket, and the checkpoint that it was made of is wanted"


def save(state: dict[str, Any], out: Path) -> None:
    """Write a checkpoint to translate with: without the optimiser's state, whole."""
    write_state(out, {name: value for name, value in state.items() if name != "last_optimizer_state"})


def check_checkpoint(state: dict[str, Any], path: Any) -> None:
    """Raises ``UntrustedCheckpoint`` unless model, task and criterion are of this project's, and all options plain."""

    def refuse(what: str) -> None:
        raise UntrustedCheckpoint(f"{path}: {what}: only checkpoints of translation models of this project are read")

    config = state.get("cfg")
    if config is None:
        return
    if not isinstance(config, dict):
        refuse("its settings are no dictionary")
    for name, value in _flat(config, "cfg"):
        if not isinstance(value, _PLAIN):
            refuse(f"its setting {name} is a {type(value).__name__}")
        if isinstance(value, str) and "${" in value:
            refuse(f"its setting {name} is to be filled in by {value!r:.60}")
    for part, known in (("task", TASKS), ("criterion", CRITERIONS)):
        name = _get(config.get(part), "_name")
        if name not in (None, *known):
            refuse(f"its {part} is {name!r:.60}")
    model = config.get("model")
    for name in filter(None, (_get(model, "_name"), _get(model, "arch"))):
        if not isinstance(name, str) or ARCH_MODEL_NAME_REGISTRY.get(name, name) not in ARCHITECTURES:
            refuse(f"its architecture is {name!r:.60}")
    options = model if isinstance(model, dict) else vars(model) if isinstance(model, Namespace) else {}
    for option, value in options.items():
        if value is not None and str(option).endswith(EVALUATED):
            refuse(f"its option {option} is {value!r:.60}, which fairseq would evaluate")
        if value is not None and str(option).endswith(OPENED):
            refuse(f"its option {option} names the file {value!r:.60}")
    if _get(model, "scores_from") and not _get(model, "scores_in_checkpoint"):
        refuse(f"its option scores_from names the file {_get(model, 'scores_from')!r:.60}")


def guard_fairseq() -> None:
    """Let fairseq's own commands read no checkpoint that ``check_checkpoint`` refuses."""
    original = checkpoint_utils.load_checkpoint_to_cpu
    if getattr(original, "is_guarded", False):
        return

    @wraps(original)
    def guarded(path: Any, *args: Any, **kwargs: Any) -> Any:
        state = load(Path(checkpoint_utils.PathManager.get_local_path(path)), mmap=True)
        if state.get("args") is not None:  # fairseq would turn them into settings by ways of its own
            raise UntrustedCheckpoint(
                f"{path} is of an older fairseq: only checkpoints with settings as of 0.12 are read"
            )
        return _with_arrays(original(path, *args, **kwargs))

    guarded.is_guarded = True  # type: ignore[attr-defined]
    checkpoint_utils.load_checkpoint_to_cpu = guarded


def allow_fairseq_checkpoints() -> None:
    """Allow-list what is in fairseq's checkpoints: its options, and stand-ins for numpy's, which would run as numpy."""
    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            _Dtype,
            *((_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
            *((_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
            (_Array, "numpy.ndarray"),
            (_Dtype, "numpy.dtype"),
            *((_Dtype, f"numpy.dtypes.{kind}DType") for kind in ("Bool", "Int32", "Int64", "Float32", "Float64")),
        ]
    )


class _Dtype:
    """A stand-in for ``numpy.dtype``: the code of a type."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) else ""

    def __setstate__(self, state: Any) -> None: ...


class _Array:
    """A stand-in for an array, made from its bytes once their type and number are known to be right."""

    made: npt.NDArray = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        try:
            _, shape, dtype, fortran, content = state
            kind, content = np.dtype(_FORMATS[dtype.code]), _bytes(content)
            plain = all(type(size) is int and size >= 0 for size in shape)
            if not plain or math.prod(shape) * kind.itemsize != len(content):
                raise ValueError("its bytes are not of its shape")
            self.made = np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C").copy()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise pickle.UnpicklingError(f"an array that is none ({error})") from None


def _array(*_: Any) -> _Array:
    return _Array()


def _number(dtype: _Dtype, content: bytes = b"") -> float:
    """A numpy scalar as a number of Python's; of another type than those of ``struct`` it is refused."""
    kind, raw = _FORMATS.get(getattr(dtype, "code", "")), _bytes(content)
    if kind is None or len(raw) != struct.calcsize(kind):
        raise pickle.UnpicklingError("a number of an unknown type")
    value: float = struct.unpack(kind, raw)[0]
    return value


def _bytes(content: Any) -> bytes:
    return content.encode("latin1") if isinstance(content, str) else bytes(content)


def _with_arrays(value: Any, seen: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """``value``, of dictionaries and lists, with arrays in place of their stand-ins; each part is seen once."""
    seen = {} if seen is None else seen
    if isinstance(value, _Array):
        return value.made
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, dict) or type(value) in (list, tuple):
        _bounded(len(seen), depth)
        seen[id(value)] = value
        if isinstance(value, dict):
            for key, part in value.items():
                value[key] = _with_arrays(part, seen, depth + 1)
        else:
            value = seen[id(value)] = type(value)([_with_arrays(part, seen, depth + 1) for part in value])
    return value


def _bounded(parts: int, depth: int) -> None:
    if parts > _MOST or depth > _DEEPEST:
        raise UserError("a checkpoint with more parts, or parts within parts, than training writes: it is refused")


def _flat(value: Any, name: str, seen: set[int] | None = None, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(name, value) of all that dictionaries, namespaces and lists hold; what is held twice comes once."""
    seen = set() if seen is None else seen
    if isinstance(value, Namespace):
        value = vars(value)
    if not isinstance(value, (dict, list, tuple)):
        yield name, value
    elif id(value) not in seen:
        seen.add(id(value))
        _bounded(len(seen), depth)
        for key, part in value.items() if isinstance(value, dict) else ((None, part) for part in value):
            yield from _flat(part, name if key is None else f"{name}.{key}", seen, depth + 1)


def _get(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)
