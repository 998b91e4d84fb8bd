"""Splits of images with labels, and the data set that two of them make."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from . import pictures
from .errors import DataError

BROKEN = ("refuse", "skip")
_STATISTICS_BATCH = 4096


@dataclass(frozen=True)
class Reading:
    """How data is read.

    size: height and width to which every image is brought, its largest centred square scaled; None: as they are.
    broken: what becomes of image files that cannot be decoded: ``refuse`` them, or ``skip`` them with one warning.
    workers: processes that decode a folder's files; None: one a processor, at most 8; 0: none but this one.
    cache: a file that keeps the decoded images of a folder or an archive of image files; it is written where it is not
        there or does not fit. Other data is read faster than that.
    in_memory: bytes of decoded images up to which data is held in memory. A folder of more is decoded as it is used;
        other data of more is refused.
    """

    size: int | None = None
    broken: str = "refuse"
    workers: int | None = None
    cache: Path | None = None
    in_memory: int = 2 << 30

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is {self.size}: images are at least 1 pixel high and wide")
        if self.broken not in BROKEN:
            raise ValueError(f"broken is {self.broken!r}: choose one of {', '.join(BROKEN)}")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers is {self.workers}: ask for 0 or more")

    @property
    def processes(self) -> int:
        if self.workers is not None:
            return self.workers
        return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Split(Protocol):
    """Images of one shape, each with a label."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        ...

    def batches(
        self, size: int, *, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once: images uint8, (b, channels, height, width), and labels int64, (b,), ``size`` at a time.

        In an order that ``generator`` draws at the call, or in the split's own. The last batch holds what is left,
        and is left out with ``drop_last`` unless it is full. Raises ``ValueError`` for a size below 1.
        """
        ...


@dataclass(frozen=True, eq=False)
class Images:
    """A split in memory: images uint8, (n, channels, height, width), and labels int64, (n,), on one device.

    Raises ``ValueError`` for tensors of other types or shapes.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(f"images are {_form(self.images)}: they must be uint8, (n, channels, height, width)")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels are {_form(self.labels)}: they must be int64, ({len(self.images)},)")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.images.shape
        return channels, height, width

    def batches(
        self, size: int, *, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As ``Split.batches``, on the device of the images; each batch is a copy."""
        chunks = batch_indices(len(self), size, generator, drop_last)
        placed = (chunk.to(self.images.device) for chunk in chunks)
        return ((self.images[chunk], self.labels[chunk]) for chunk in placed)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Two splits with the same classes.

    classes: a name for each label. mean, std: of each channel of the training images, where 255 counts as 1; the
        ``std`` of a channel that never changes is 1, so that one can divide by it.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]


def data_set(name: str, classes: tuple[str, ...], train: Images, test: Images, reading: Reading) -> DataSet:
    """The data set of two splits in memory, brought to the size asked for."""
    if reading.size is not None:
        for split in (train, test):
            weight = len(split) * split.shape[0] * reading.size**2
            if weight > reading.in_memory:
                raise DataError(f"{name} at size {reading.size} takes {weight:,} bytes: choose a smaller size")
        train, test = (Images(pictures.resize(s.images, reading.size), s.labels) for s in (train, test))
    return with_statistics(name, classes, train, test)


def with_statistics(
    name: str, classes: tuple[str, ...], train: Split, test: Split, sample: Iterable[Tensor] | None = None
) -> DataSet:
    """The data set with the mean and standard deviation of its training images, or of a sample of them (batches)."""
    if sample is None:
        sample = (images for images, _ in train.batches(_STATISTICS_BATCH))
    return DataSet(name, classes, train, test, *statistics(sample))


def statistics(batches: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel of uint8 images (b, channels, height, width), as a ``DataSet`` holds them. Exact:
    the values are counted."""
    counts: list[Tensor] = []
    for images in batches:
        found = [torch.bincount(channel.reshape(-1), minlength=256).cpu() for channel in images.unbind(1)]
        counts = [count + more for count, more in zip(counts, found)] if counts else found
    values = torch.arange(256, dtype=torch.float64) / 255
    means = [float(count @ values / count.sum()) for count in torch.stack(counts).double()]
    stds = [
        math.sqrt(count @ (values - mean).square() / count.sum())
        for count, mean in zip(torch.stack(counts).double(), means)
    ]
    constant = [int((count > 0).sum()) == 1 for count in counts]
    return tuple(means), tuple(1.0 if same else std for std, same in zip(stds, constant))


def batch_indices(count: int, size: int, generator: torch.Generator | None, drop_last: bool) -> list[Tensor]:
    """What ``Split.batches`` hands out in each batch: int64 tensors on the CPU, indices below ``count``."""
    if size < 1:
        raise ValueError(f"a batch of {size} images: ask for at least 1")
    if generator is None:
        order = torch.arange(count)
    else:
        order = torch.randperm(count, generator=generator, device=generator.device).cpu()
    return [chunk for chunk in order.split(size) if len(chunk) and not (drop_last and len(chunk) < size)]


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).split('.')[-1]}, {tuple(tensor.shape)}"
