"""Images sorted into folders by their class: ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, or .jpeg, or .png.

``val`` does for ``test``. All of it is in a folder, or in an archive, which is read in one pass, in place, and may have
folders above ``train``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor

from . import cache
from .archive import ENDINGS, hint, is_archive, members
from .broken import report, unequal
from .cache import Decoded
from .errors import DataError
from .pictures import MOST_BYTES, Pixels, Undecodable, decode
from .splits import DataSet, Images, Reading, with_statistics
from .streamed import Streamed

IMAGES = (".jpg", ".jpeg", ".png")
TRAIN = "train"
TEST = ("test", "val")  # the first that has images in folders
_NAMED = 10  # classes in a message
_FORM = "train/CLASS/*.jpg and test/CLASS/*.jpg (or val)"


class _Place(NamedTuple):
    split: str
    label: str
    file: str

    def __str__(self) -> str:
        return "/".join(self)


def load_folder(root: Path | None, reading: Reading) -> DataSet:
    """RGB, (3, height, width), the classes sorted by name, and within a class the images.

    Other files are passed over, and so is what is hidden (``.name``). Of a folder too large for memory, which no cache
    keeps, ``mean`` and ``std`` are those of 10,000 images, evenly spaced.

    Raises ``DataError`` for what is missing, classes that differ between the splits, archives that are damaged or
    unsafe, images of several sizes where ``reading`` does not say to which one to bring them, images that cannot be
    decoded (unless they are to be skipped), and for an archive too large for memory.
    """
    if root is None or not root.exists():
        where = f"{root} does not exist" if root else "there is no root"
        raise DataError(f"folder: {where}: name a folder or an archive with {_FORM}")
    if root.is_dir():
        return _load_folder(root, reading)
    if not is_archive(root):
        raise DataError(f"{root} is neither a folder nor an archive ({', '.join(ENDINGS)})")
    source = cache.source_of(root.parent, [root])
    decoded = cache.read(reading.cache, source, reading) if reading.cache else None
    if decoded is None:
        decoded = _from_archive(root, reading)
        if reading.cache:
            cache.write(reading.cache, decoded, source, reading)
    return with_statistics("folder", decoded.classes, decoded.train, decoded.test)


def _load_folder(root: Path, reading: Reading) -> DataSet:
    classes, train, test = _plan(root, _places(root))
    source = cache.source_of(root, (root / str(place) for place in [*train, *test])) if reading.cache else ""
    decoded = cache.read(reading.cache, source, reading) if reading.cache else None
    if decoded is None:
        shape = (3, reading.size, reading.size) if reading.size else _first_shape(root, train)
        streams = [
            Streamed(root, [str(place) for place in places], _labels(classes, places), shape, reading)
            for places in (train, test)
        ]
        if (len(train) + len(test)) * shape[0] * shape[1] * shape[2] > reading.in_memory:
            return with_statistics("folder", classes, streams[0], streams[1], streams[0].sample())
        (train_images, failed), (test_images, more) = (stream.gathered() for stream in streams)
        failed.update(more)
        report(root, failed, len(train) + len(test), reading.broken)
        for name, split in ((TRAIN, train_images), (test[0].split, test_images)):
            if not len(split):
                raise DataError(f"{root}: no image in {name} can be decoded: get them again")
        decoded = Decoded(classes, train_images, test_images, len(failed))
        if reading.cache:
            cache.write(reading.cache, decoded, source, reading)
    return with_statistics("folder", decoded.classes, decoded.train, decoded.test)


def _from_archive(archive: Path, reading: Reading) -> Decoded:
    pixels: dict[_Place, Pixels] = {}
    failed: dict[_Place, str] = {}
    above: set[PurePosixPath] = set()
    held, first = 0, None
    with members(archive) as entries:
        for entry in entries:
            place = _place_of(entry.name)
            if place is None:
                continue
            above.add(entry.name.parents[2])
            if len(above) > 1 or place in pixels or place in failed:
                raise DataError(
                    f"{archive} holds {str(place)!r} in two places or twice: pack it again with one set in it"
                )
            try:
                if entry.size > MOST_BYTES:
                    raise Undecodable(f"it is of {entry.size:,} bytes")
                decoded = decode(entry.read(), reading.size)
            except Undecodable as error:
                failed[place] = str(error)
                continue
            first = first or decoded.shape
            if decoded.shape != first:
                raise DataError(unequal(archive, str(place), decoded.shape, first))
            held += decoded.nbytes
            if held > reading.in_memory:
                limit = f"{reading.in_memory:,} bytes"
                raise DataError(
                    f"{archive} decodes to more than {limit}: unpack it and name the folder, or a smaller size"
                )
            pixels[place] = decoded
    classes, train, test = _plan(archive, [*pixels, *failed])
    report(archive, {str(place): why for place, why in failed.items()}, len(pixels) + len(failed), reading.broken)
    splits = [_taken(archive, classes, places, pixels) for places in (train, test)]
    return Decoded(classes, splits[0], splits[1], len(failed))


def _taken(archive: Path, classes: Sequence[str], places: Sequence[_Place], pixels: dict[_Place, Pixels]) -> Images:
    """The images of these places that there are, in this order. They are taken out of ``pixels`` one by one, so that
    memory holds them once."""
    there = [place for place in places if place in pixels]
    if not there:
        raise DataError(f"{archive}: no image in {places[0].split} can be decoded: get it again")
    images = torch.empty(len(there), *pixels[there[0]].shape, dtype=torch.uint8)
    for row, place in zip(images.numpy(), there):
        row[:] = pixels.pop(place)
    return Images(images, _labels(classes, there))


def _places(root: Path) -> Iterator[_Place]:
    for split in (root / name for name in (TRAIN, *TEST) if (root / name).is_dir()):
        for label in (folder for folder in os.scandir(split) if folder.is_dir()):
            for file in os.scandir(label):
                place = _place_of(PurePosixPath(split.name, label.name, file.name))
                if place and file.is_file():
                    yield place


def _place_of(name: PurePosixPath) -> _Place | None:
    """Where an image belongs, by the last three parts of its path; None for what is none, or hidden."""
    place = _Place(*name.parts[-3:]) if len(name.parts) >= 3 else None
    if place is None or place.split not in (TRAIN, *TEST) or place.label.startswith(".") or place.file.startswith("."):
        return None
    return place if place.file.lower().endswith(IMAGES) else None


def _plan(root: Path, places: Iterable[_Place]) -> tuple[tuple[str, ...], list[_Place], list[_Place]]:
    """The classes, and the sorted places of the training and of the test images."""
    splits: dict[str, list[_Place]] = {}
    for place in sorted(places):
        splits.setdefault(place.split, []).append(place)
    train = splits.get(TRAIN, [])
    test = next((splits[name] for name in TEST if name in splits), [])
    if not train or not test:
        lacks = TRAIN if not train else " or ".join(TEST)
        raise DataError(f"{root} has no image in {lacks}: it must hold {_FORM}{hint(root)}")
    classes, others = ({place.label for place in split} for split in (train, test))
    sides = ((train, classes - others), (test, others - classes))
    if classes != others:
        alone = [f"{split[0].split} alone has {_some(labels)}" for split, labels in sides if labels]
        raise DataError(f"{root}: the classes differ, {', and '.join(alone)}: give both splits the same")
    return tuple(sorted(classes)), train, test


def _some(labels: Iterable[str]) -> str:
    quoted = [repr(label) for label in sorted(labels)]
    return ", ".join(quoted[:_NAMED]) + (f" and {len(quoted) - _NAMED} more" if len(quoted) > _NAMED else "")


def _labels(classes: Sequence[str], places: Iterable[_Place]) -> Tensor:
    """int64, (n,)"""
    numbers = {label: number for number, label in enumerate(classes)}
    return torch.tensor([numbers[place.label] for place in places], dtype=torch.int64)


def _first_shape(root: Path, places: Sequence[_Place]) -> tuple[int, int, int]:
    """Of the first image that can be decoded, (3, height, width)."""
    for place in places:
        with suppress(Undecodable):
            _, height, width = decode((root / str(place)).read_bytes()).shape
            return 3, height, width
    raise DataError(f"{root}: no image in {places[0].split} can be decoded: get them again")
