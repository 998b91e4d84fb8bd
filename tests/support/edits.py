"""Edits of a ticket, as ``signing.resign`` takes them."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from tests.support.signing import Edit


def set_entry(*where: Any) -> Edit:
    """An edit of the metadata: the path to an entry, and its new value."""
    *path, last, value = where

    def edit(about: dict[str, Any], _: dict[str, Tensor]) -> None:
        entry: Any = about
        for step in path:
            entry = entry[step]
        entry[last] = value

    return edit


def drop_entry(*where: Any) -> Edit:
    """An edit of the metadata: the path to an entry that goes."""

    def edit(about: dict[str, Any], _: dict[str, Tensor]) -> None:
        entry: Any = about
        for step in where[:-1]:
            entry = entry[step]
        del entry[where[-1]]

    return edit


def append_entry(key: str, value: Any) -> Edit:
    """An edit of the metadata: one more in a list."""
    return lambda about, _: about[key].append(value)


def set_tensor(name: str, tensor: Tensor | None) -> Edit:
    """An edit of the tensors: another one of that name, or none."""

    def edit(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor

    return edit


def all_edits(*edits: Edit) -> Edit:
    """One edit after another."""

    def edit(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        for each in edits:
            each(about, tensors)

    return edit


def metadata_text(text: str) -> Edit:
    """Metadata of these very characters."""
    return lambda about, tensors: text


def replace_text(old: str, new: str) -> Edit:
    """Replace text within the metadata as it is written."""

    def edit(about: dict[str, Any], _: dict[str, Tensor]) -> str:
        text = json.dumps({**about, "digest": "0" * 64})
        assert old in text
        return text.replace(old, new, 1)

    return edit


def bytes_of(*values: int) -> Tensor:
    """A row of bytes."""
    return torch.tensor(values, dtype=torch.uint8)
