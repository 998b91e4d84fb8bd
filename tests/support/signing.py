"""Tickets taken apart, changed, and put together again with a digest that fits."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, Callable, Union

from safetensors.torch import load, save
from torch import Tensor

ZEROS = "0" * 64
Edit = Callable[[dict[str, Any], dict[str, Tensor]], Union[dict[str, Any], str, None]]


def metadata_of(raw: bytes) -> dict[str, Any]:
    """The JSON under the metadata's one key."""
    (length,) = struct.unpack("<Q", raw[:8])
    about: dict[str, Any] = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["ticket"])
    return about


def signed(about: Any, tensors: dict[str, Tensor]) -> bytes:
    """A ticket's file. ``about``: the metadata, as a dictionary, or as text that has 64 zeros for a digest."""
    if isinstance(about, dict):
        about = json.dumps({**about, "digest": ZEROS} if "digest" in about else about)
    return with_digest(save(tensors, {"ticket": about}))


def with_digest(raw: bytes) -> bytes:
    """The digest in place of its zeros."""
    return raw.replace(ZEROS.encode(), hashlib.sha256(raw).hexdigest().encode(), 1)


def resign(path: Path, edit: Edit) -> Path:
    """Change the metadata and the tensors of the ticket ``path``: in place, or to metadata that ``edit`` returns."""
    raw = path.read_bytes()
    about, tensors = metadata_of(raw), load(raw)
    changed = edit(about, tensors)
    path.write_bytes(signed(about if changed is None else changed, tensors))
    return path
