"""A folder's images, decoded as they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .broken import report, unequal
from .errors import DataError
from .pictures import Pixels, Undecodable, decode
from .splits import Images, Reading, batch_indices

_WORTH_A_PROCESS = 4  # batches
_GATHERED = 64  # images at a time
_SAMPLE = 10_000  # images, of which statistics are taken

Decoded = tuple[Tensor, Tensor, list[tuple[int, ValueError]]]


@dataclass(frozen=True, eq=False)
class _Decoder(Dataset[Decoded]):
    """Decodes batches: a list of indices -> images and labels of those that it could decode, and what the others met.

    files: below ``root``. What worker processes get to see.
    """

    root: Path
    files: Sequence[str]
    labels: Tensor
    shape: tuple[int, int, int]
    size: int | None

    def __getitem__(self, indices: list[int]) -> Decoded:
        images: list[Pixels] = []
        good: list[int] = []
        failures: list[tuple[int, ValueError]] = []
        for index in indices:
            try:
                pixels = decode((self.root / self.files[index]).read_bytes(), self.size)
                if pixels.shape != self.shape:
                    raise DataError(unequal(self.root, self.files[index], pixels.shape, self.shape))
            except OSError as error:
                failures.append((index, Undecodable(error.strerror or str(error))))
            except ValueError as error:  # raised by the one that asked: the message of a worker's own is not one line
                failures.append((index, error))
            else:
                images.append(pixels)
                good.append(index)
        stacked = torch.from_numpy(np.stack(images)) if images else torch.empty(0, *self.shape, dtype=torch.uint8)
        return stacked, self.labels[good], failures


class Streamed:
    """A split whose files are read and decoded for each batch, by worker processes; a ``Split``.

    files: names below ``root``. labels: int64, (n,). shape: (channels, height, width), of every image.

    Files that cannot be decoded raise ``DataError`` when their batch comes, or are left out from then on, with one
    warning in the pass that finds them; ``len`` counts those not known to be broken.
    """

    def __init__(
        self, root: Path, files: Sequence[str], labels: Tensor, shape: tuple[int, int, int], reading: Reading
    ) -> None:
        self._decoder = _Decoder(root, files, labels, shape, reading.size)
        self._reading = reading
        self._broken: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._decoder.files) - len(self._broken)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._decoder.shape

    def batches(
        self, size: int, *, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As ``Split.batches``, on the CPU. A batch with a file newly found broken is smaller by it."""
        whole = torch.tensor(
            [at for at in range(len(self._decoder.files)) if at not in self._broken], dtype=torch.int64
        )
        chunks = batch_indices(len(whole), size, generator, drop_last)
        return self._pass([whole[chunk].tolist() for chunk in chunks])

    def sample(self) -> Iterator[Tensor]:
        """At most 10,000 images, evenly spaced, as batches."""
        step = -(-len(self._decoder.files) // _SAMPLE)
        chosen = torch.arange(0, len(self._decoder.files), step)
        return (images for images, _ in self._pass([chunk.tolist() for chunk in chosen.split(_GATHERED)]))

    def gathered(self) -> tuple[Images, dict[str, str]]:
        """The split in memory, in order, and why each of its other files cannot be decoded."""
        decoder, filled = self._decoder, 0
        images = torch.empty(len(decoder.files), *decoder.shape, dtype=torch.uint8)
        labels: list[Tensor] = []
        failed: dict[str, str] = {}
        chunks = [chunk.tolist() for chunk in torch.arange(len(decoder.files)).split(_GATHERED)]
        for some, their_labels, failures in self._decoded(chunks):
            images[filled : filled + len(some)] = some
            filled += len(some)
            labels.append(their_labels)
            failed.update((decoder.files[index], str(error)) for index, error in failures)
        return Images(images[:filled], torch.cat(labels)), failed

    def _pass(self, chunks: list[list[int]]) -> Iterator[tuple[Tensor, Tensor]]:
        found: dict[int, str] = {}
        try:
            for images, labels, failures in self._decoded(chunks):
                for index, error in failures:
                    found[index] = str(error)
                if failures and self._reading.broken == "refuse":
                    break
                if len(images):
                    yield images, labels
        finally:
            new = {self._decoder.files[at]: why for at, why in found.items() if at not in self._broken}
            if self._reading.broken == "skip":
                self._broken.update(found)
            report(self._decoder.root, new, len(self._decoder.files), self._reading.broken)

    def _decoded(self, chunks: list[list[int]]) -> Iterator[Decoded]:
        """What the decoder makes of each list of indices. Raises the failures that are no broken file's."""
        batches = DataLoader(
            self._decoder,
            batch_size=None,
            sampler=chunks,
            num_workers=min(self._reading.processes, len(chunks) // _WORTH_A_PROCESS),
            collate_fn=_as_is,
            generator=torch.Generator(),  # else it would draw from torch's own, and change what comes after
        )
        for decoded in batches:
            for _, error in decoded[2]:
                if not isinstance(error, Undecodable):
                    raise error
            yield decoded


def _as_is(decoded: Any) -> Any:
    return decoded
