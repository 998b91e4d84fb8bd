"""Images with labels, as splits that hand out batches.

data = load("digits")                                                    # no download: scikit-learn holds them
data = load("mnist", Path("../shared/data/mnist"))                       # the four IDX files, gzip or not
data = load("cifar10", Path("cifar-10-binary.tar.gz"))                   # or a folder; also cifar100
data = load("folder", Path("images.tar.xz"), size=64, cache=Path("images.safetensors"))    # train/CLASS/*.jpg, test/...
for images, labels in data.train.batches(128, generator=torch.Generator().manual_seed(1)):
    images = augment(images, flip=True, padding=4, generator=generator)  # uint8, (128, channels, height, width)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Optional

from .augmentation import augment
from .cifar import load_cifar10, load_cifar100
from .digits import load_digits
from .errors import DataError
from .folder import load_folder
from .idx import load_mnist
from .splits import DataSet, Images, Reading, Split

__all__ = ["DATASETS", "DataError", "DataSet", "Images", "Reading", "Split", "augment", "load"]

DATASETS: dict[str, Callable[[Optional[Path], Reading], DataSet]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "folder": load_folder,
}


def load(
    name: str = "digits",
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
    broken: str = Reading.broken,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    in_memory: int = Reading.in_memory,
) -> DataSet:
    """Read the data set ``name``, a key of ``DATASETS``, from ``root``: a folder or an archive (``digits``: None).

    The other parameters are the fields of ``Reading``. Raises ``DataError`` for data that cannot be read, and
    ``ValueError`` for a parameter that makes no sense.
    """
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}: choose one of {', '.join(DATASETS)}")
    reading = Reading(size, broken, workers, None if cache is None else Path(cache), in_memory)
    try:
        return DATASETS[name](None if root is None else Path(root), reading)
    except OSError as error:
        what = f"{error.filename or root} cannot be read ({error.strerror or error})"
        raise DataError(f"{what}: see to its rights and its disk") from error
