"""What images a run is of: kept in its checkpoint, and compared before the run goes on, is evaluated or exported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .data import DataError, DataSet

logger = logging.getLogger(__name__)

KEY = "images"  # in a checkpoint
_DIGITS = 6  # of means and standard deviations


def images_of(data: DataSet) -> dict[str, Any]:
    """The record of a data set: its names and sizes, and the statistics of its training images."""
    return {
        "data": data.name,
        "classes": list(data.classes),
        "shape": list(data.train.shape),
        "training images": len(data.train),
        "test images": len(data.test),
        "mean": list(data.mean),
        "std": list(data.std),
    }


def record_in(state: Mapping[str, Any], who: str) -> dict[str, Any]:
    """The record that a checkpoint holds. One of before has the classes alone, which a warning says."""
    if KEY in state:
        return dict(state[KEY])
    logger.warning("%s does not say what images it was trained on, as those of before", who)
    return {name: state[name] for name in ("classes",) if name in state}


def check_same(record: Mapping[str, Any], own: Mapping[str, Any], who: str) -> None:
    """Raises ``DataError``, which names both values, where a training would go on with other images."""
    for name, there in record.items():
        if _rounded(there) != _rounded(own[name]):
            here, there = (own[name], there) if name != "classes" else _apart(own[name], there)
            raise DataError(f"{who} was trained on images with {name} {there}, not {here}: name its data by --root")


def for_model(data: DataSet, record: Mapping[str, Any], who: str) -> DataSet:
    """The data set with the mean and std that the model was trained with: others change what it sees.

    Raises ``DataError``, which names both values, for other classes or another shape.
    """
    own = images_of(data)
    check_same({name: record[name] for name in ("classes", "shape") if name in record}, own, who)
    if "mean" not in record:
        return data
    return replace(data, mean=tuple(record["mean"]), std=tuple(record["std"]))


def _apart(here: list[str], there: list[str]) -> tuple[str, str]:
    """Two lists of classes in words, by the first in which they differ."""
    at = next((at for at, (one, two) in enumerate(zip(here, there)) if one != two), min(len(here), len(there)))
    shown = [f"{', '.join(map(repr, names[at : at + 3]))} (of {len(names)})".lstrip() for names in (here, there)]
    return shown[0], shown[1]


def _rounded(value: Any) -> Any:
    return [_rounded(part) for part in value] if isinstance(value, list) else _number(value)


def _number(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
