"""scikit-learn's handwritten digits: 1,797 images of 8x8, inside the package, so that nothing is downloaded.

Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (UCI).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...optional import need
from ...weights import draw_words
from .splits import DataSet, Images, Reading, data_set

_SEED = 1


def load_digits(root: Path | None, reading: Reading) -> DataSet:
    """(1, 8, 8); a sixth of each class, drawn once and for all, is the test split. ``root`` has no use.

    Raises ``MissingPackage`` where scikit-learn is missing.
    """
    digits = need("sklearn.datasets", "vision").load_digits()
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))

    # The order is drawn by the hash of the random weights: the same split on every platform.
    order = torch.from_numpy(np.argsort(draw_words(len(labels), seed=_SEED, name="digits"), kind="stable"))
    chosen = []
    for label in range(10):
        members = order[labels[order] == label]
        chosen.append(members[: round(len(members) / 6)])
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[torch.cat(chosen)] = True

    train, test = (Images(images[which], labels[which]) for which in (~held_out, held_out))
    return data_set("digits", tuple("0123456789"), train, test, reading)
