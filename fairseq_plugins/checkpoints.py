"""Let torch load fairseq's checkpoints safely."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch


def allow_fairseq_checkpoints() -> None:
    """Allow-list the few harmless types in fairseq's checkpoints, so that ``weights_only`` loading accepts them."""
    if not hasattr(torch.serialization, "add_safe_globals"):  # torch < 2.4 does not restrict by default
        return
    reconstruct: Any = np.array(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")}
    torch.serialization.add_safe_globals([argparse.Namespace, reconstruct, scalar, np.ndarray, np.dtype, *dtypes])
