"""CIFAR-10 and CIFAR-100, from the files of their makers: the binary version, or the one pickled for Python.

Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html. A record of the binary version is the label (of
CIFAR-100: the coarse one, then the fine one, which is used here) and 3,072 bytes, the image as (3, 32, 32).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from .archive import hint, is_archive, members
from .errors import DataError
from .pickles import Described, UnsafePickle, load_plain
from .splits import DataSet, Images, Reading, data_set

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_MOST_BYTES = 256 << 20  # of one file; CIFAR-100's training images are 154 MB
_MEND = "get it again"


@dataclass(frozen=True)
class _Version:
    """The files of one form of the set: in which folder they usually are, and which."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test)


@dataclass(frozen=True)
class _Kind:
    """One of the two sets. labels: how many values each label byte of a record has; the last one is used."""

    name: str
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    pickled_labels: str
    binary: _Version
    pickled: _Version


_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

CIFAR10 = _Kind(
    name="cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    labels=(10,),
    pickled_labels="labels",
    binary=_Version("cifar-10-batches-bin", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)),
    pickled=_Version("cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",)),
)
CIFAR100 = _Kind(
    name="cifar100",
    classes=tuple(_FINE.split()),
    labels=(20, 100),
    pickled_labels="fine_labels",
    binary=_Version("cifar-100-binary", ("train.bin",), ("test.bin",)),
    pickled=_Version("cifar-100-python", ("train",), ("test",)),
)


def load_cifar10(root: Path | None, reading: Reading) -> DataSet:
    """(3, 32, 32), 10 classes. ``root``: ``cifar-10-binary.tar.gz``, ``cifar-10-python.tar.gz`` or either's folder.

    Pickled files are read without running what is in them. Raises ``DataError`` for files missing or wrong.
    """
    return _load(CIFAR10, root, reading)


def load_cifar100(root: Path | None, reading: Reading) -> DataSet:
    """(3, 32, 32), the 100 fine classes. As ``load_cifar10``, from ``cifar-100-binary.tar.gz`` and so on."""
    return _load(CIFAR100, root, reading)


def _load(kind: _Kind, root: Path | None, reading: Reading) -> DataSet:
    if root is None or not root.exists():
        where = f"{root} does not exist" if root else "there is no root"
        raise DataError(f"{kind.name}: {where}: name its folder, or its archive as it was downloaded")
    contents = _archived(kind, root) if is_archive(root) else _in_folder(kind, root)
    version = _complete(kind, root, contents)
    parse = _from_binary if version is kind.binary else _from_pickle
    splits = []
    for files in (version.train, version.test):
        parts = [parse(kind, f"{root}: {name}", contents.pop(name)) for name in files]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts))
        splits.append(Images(torch.from_numpy(images.reshape(-1, *_SHAPE)), torch.from_numpy(labels)))
    return data_set(kind.name, kind.classes, splits[0], splits[1], reading)


def _in_folder(kind: _Kind, root: Path) -> dict[str, bytes]:
    if not root.is_dir():
        raise DataError(f"{root} is neither a folder nor an archive: name {kind.name}'s")
    paths = {
        name: folder / name
        for version in (kind.binary, kind.pickled)
        for folder in (root / version.folder, root)
        for name in version.files
        if (folder / name).is_file()
    }
    contents = {}
    for name in _complete(kind, root, paths).files:
        _check_size(str(paths[name]), paths[name].stat().st_size)
        contents[name] = paths[name].read_bytes()
    return contents


def _archived(kind: _Kind, root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with members(root) as entries:
        for entry in entries:
            name = entry.name.name
            if name in kind.binary.files or name in kind.pickled.files:
                if name in found:
                    raise DataError(f"{root} holds {name} twice: {_MEND}")
                _check_size(f"{root}: {name}", entry.size)
                found[name] = entry.read()
    return found


def _check_size(what: str, size: int) -> None:
    if size > _MOST_BYTES:
        raise DataError(f"{what} is of {size:,} bytes, more than any file of CIFAR's: {_MEND}")


def _complete(kind: _Kind, root: Path, found: Iterable[str]) -> _Version:
    """The version of which all files were found."""
    missing = {
        version: [name for name in version.files if name not in found] for version in (kind.binary, kind.pickled)
    }
    version = min(missing, key=lambda version: len(missing[version]))
    if missing[version]:
        lacks = ", ".join(missing[version])
        raise DataError(f"{root} lacks {lacks}: name the folder that holds {kind.name}{hint(root)}")
    return version


def _from_binary(kind: _Kind, what: str, content: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n, 3,072) and labels (n,)."""
    record = len(kind.labels) + _PIXELS
    if not content or len(content) % record:
        raise DataError(f"{what} is of {len(content):,} bytes, not a multiple of {record:,}: {_MEND}")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    for at, count in enumerate(kind.labels):
        _check_labels(what, int(records[:, at].max()), count)
    return records[:, len(kind.labels) :], records[:, len(kind.labels) - 1].astype(np.int64)


def _from_pickle(kind: _Kind, what: str, content: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n, 3,072) and labels (n,)."""
    try:
        batch = load_plain(content)
        batch = batch if isinstance(batch, dict) else {}
        data, labels = (batch.get(key, batch.get(key.encode())) for key in ("data", kind.pickled_labels))
        if not isinstance(data, Described) or not isinstance(labels, list):
            raise UnsafePickle(f"lacks data or {kind.pickled_labels}")
        images = data.bytes_array()
    except UnsafePickle as error:
        raise DataError(f"{what} {error}, unlike CIFAR's own: {_MEND}") from error
    if images.shape != (len(labels), _PIXELS) or not labels or any(type(label) is not int for label in labels):
        raise DataError(f"{what} does not hold an image of {_PIXELS:,} bytes for each label: {_MEND}")
    _check_labels(what, max(labels), kind.labels[-1])
    _check_labels(what, min(labels), kind.labels[-1])
    return images, np.array(labels, np.int64)


def _check_labels(what: str, label: int, count: int) -> None:
    if not 0 <= label < count:
        raise DataError(f"{what} holds the label {label}, of {count} from 0: {_MEND}")
