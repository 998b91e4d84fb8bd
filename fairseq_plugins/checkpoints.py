"""fairseq's checkpoints: loaded without running what is in them, and written whole."""

from __future__ import annotations

import argparse
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from one_layer_lt.errors import UserError
from one_layer_lt.files import whole


def allow_fairseq_checkpoints() -> None:
    """Allow-list the few harmless types in fairseq's checkpoints, so that ``weights_only`` loading accepts them."""
    if not hasattr(torch.serialization, "add_safe_globals"):  # torch < 2.4 does not restrict by default
        return
    reconstruct: Any = np.array(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")}
    torch.serialization.add_safe_globals([argparse.Namespace, reconstruct, scalar, np.ndarray, np.dtype, *dtypes])


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, without running anything that it holds."""
    allow_fairseq_checkpoints()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{path} is damaged, or no fairseq checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise UserError(f"{path} is no fairseq checkpoint: it holds no model")
    return state


def save(state: dict[str, Any], out: Path) -> None:
    """Write a checkpoint to translate with: without the optimiser's state, whole."""
    with whole(out) as part:
        torch.save({name: value for name, value in state.items() if name != "last_optimizer_state"}, part)
