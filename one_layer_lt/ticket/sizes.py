"""How large a ticket is, kind by kind, and against what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..sharing import SHARES
from .encoding import groups, planes_of, streams, to_bytes
from .parts import Contents, Mask
from .planes import compress, count_ones, entropy


@dataclass(frozen=True)
class Kind:
    """Tensors of one kind: the same projection in every layer of a stack.

    bits: stored, a weight. bytes: stored, in all.
    """

    name: str
    tensors: int
    shape: tuple[int, ...]
    weights: int
    kept: int
    bits: float
    bytes: float


@dataclass(frozen=True)
class Sizes:
    """Sizes in bytes.

    masks: the mask planes as stored. bound: the entropy of masks that keep as many.
    assets: dictionaries, tokenizer. file: all. dense: the same weights in float32.
    """

    masked: tuple[Kind, ...]
    unmasked: tuple[Kind, ...]
    masks: int
    bound: float
    assets: int
    file: int
    dense: int

    @property
    def without_assets(self) -> int:
        """The file but for dictionaries and tokenizer."""
        return self.file - self.assets


def sizes(contents: Contents) -> Sizes:
    """Measure a ticket. Needs none of its random weights."""
    stored: dict[str, float] = {}  # bytes of each mask: its share of what is stored as one
    masks = 0
    coded = iter([(len(compress(packed)[1]), len(packed)) for packed in streams(contents.masks)])
    for group in groups(contents.masks):
        for plane in range(planes_of(group[0].config)):
            size, whole = next(coded)
            masks += size
            for mask in group:
                part = size * mask.planes[plane].size / max(whole, 1)
                stored[mask.name] = stored.get(mask.name, 0.0) + part
    kinds: dict[tuple[object, ...], list[Mask]] = {}
    for mask in contents.masks:
        kinds.setdefault((_kind(mask.name), mask.weight.shape), []).append(mask)
    dense: dict[tuple[str, tuple[int, ...]], list[Tensor]] = {}
    for name, tensor in contents.dense.items():
        dense.setdefault((_kind(name), tuple(tensor.shape)), []).append(tensor)
    weights = sum(mask.weight.size * (1 + len(mask.also)) for mask in contents.masks)
    weights += sum(tensor.numel() for tensor in contents.dense.values())
    return Sizes(
        masked=tuple(_masked(masks, stored) for masks in kinds.values()),
        unmasked=tuple(_unmasked(name, tensors) for (name, _), tensors in dense.items()),
        masks=masks,
        bound=sum(map(_bound, contents.masks)) / 8,
        assets=sum(len(compress(asset, huffman_only=False)[1]) for asset in contents.assets.values()),
        file=len(to_bytes(contents)),
        dense=4 * weights,
    )


def _bound(mask: Mask) -> float:
    """Bits that a mask takes at least, given how many 1s each of its planes has."""
    return sum(entropy(length, count_ones(plane)) for length, plane in zip(mask.lengths, mask.planes))


def _masked(masks: Sequence[Mask], stored: dict[str, float]) -> Kind:
    weights, size = sum(mask.weight.size for mask in masks), sum(stored[mask.name] for mask in masks)
    kept = sum(mask.kept_in_all for mask in masks)
    return Kind(_kind(masks[0].name), len(masks), masks[0].weight.shape, weights, kept, 8 * size / weights, size)


def _unmasked(name: str, tensors: Sequence[Tensor]) -> Kind:
    weights, width = sum(tensor.numel() for tensor in tensors), tensors[0].element_size()
    return Kind(name, len(tensors), tuple(tensors[0].shape), weights, weights, 8.0 * width, weights * width)


def _kind(name: str) -> str:
    return SHARES["layer"](name)
