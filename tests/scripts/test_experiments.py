"""scripts/experiments at sizes that take no time, their command, and that docs/science.md shows what was found."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from one_layer_lt.errors import UserError
from scripts import science
from scripts.experiments import holds, images

KEEPS = (1.0, 0.5, 0.25)


@dataclass
class Random:
    """Images of 4x5 pixels that mean nothing."""

    count: int
    shape = (1, 4, 5)

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        assert size == self.count
        generator = torch.Generator().manual_seed(1)
        pixels = torch.randint(256, (size, *self.shape), generator=generator, dtype=torch.uint8)
        yield pixels, torch.randint(10, (size,), generator=generator)


class Data:
    train, test = Random(20), Random(8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "load", lambda name, root: Data)
    for module, sizes in (
        (images, {"SEEDS": (1, 2), "KEEPS": KEEPS, "SHOWN": KEEPS, "SEARCHED": (0.5,), "EPOCHS": 1}),
        (holds, {"SEEDS": (1, 2), "TIMES": (1,), "SEARCHED": 2, "TRAINED": 30, "NUMBERS": 9, "HIDDEN": 3, "WIDTH": 4}),
    ):
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(holds, "SIZES", {"single": (1, 4, 8), "subset": (1, 4, 6)})


@pytest.mark.parametrize("name", [name for name in science.EXPERIMENTS if (science.FOLDER / f"{name}.json").is_file()])
def test_the_page_shows_what_was_found(name: str) -> None:
    result = json.loads((science.FOLDER / f"{name}.json").read_text())
    page = science.PAGE.read_text()
    for place, table in science.experiment_tables(result).items():
        assert f"<!-- table: {place} -->\n{table}\n<!-- end of table -->" in page, "run: python -m scripts.tables"
    assert (science.FOLDER / f"{name}.png").is_file()
    assert f"(results/science/{name}.png)" in page


@pytest.mark.usefixtures("small")
def test_pruning_and_its_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = list(images.run(Path(), {}))
    assert list(before["seeds"]) == ["1"]
    assert list(found["seeds"]) == ["1", "2"]
    for seed in found["seeds"].values():
        assert [row["keep"] for row in seed["pruned"]] == [1, 0.5, 0.25]
        assert [len(row["rewound"]) for row in seed["pruned"]] == [1, 1, 1]
        assert set(seed["pruned"][0]) == {"keep", "rewound", "first"}
        assert set(seed["pruned"][1]) == {"keep", "rewound", "reinitialised", "random", "first"}
        assert seed["pruned"][0]["first"]["mask"][0] == pytest.approx(2 * 31 / 20)  # all 31 pairs of all 20 pixels
        assert seed["masks"][0]["first"]["kept"] == pytest.approx(0.5)
    monkeypatch.setattr(images, "_train", None)  # seeds that are done are not trained again
    assert list(images.run(Path(), json.loads(json.dumps(found)))) == []
    with pytest.raises(TypeError):
        next(images.run(Path(), {**before, "epochs": 99}))


@pytest.mark.usefixtures("small")
def test_rivals_start_from_the_weights_and_masks_that_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def train(model: torch.nn.Module, *_: Any) -> list[float]:
        weights = [each.detach().clone() for each in model.parameters()]
        kept = [images.pruned_weight(module).mask.clone() for _, module in images.pruned_modules(model)]
        started.append((weights, kept))
        with torch.no_grad():
            for each in model.parameters():
                each.add_(torch.linspace(0, 1, each.numel()).view_as(each))
        return [0.5]

    monkeypatch.setattr(images, "_train", train)
    tensors = images.tensors(Data.train)
    rows = list(images._pruning(tensors, tensors, 1, Random.shape))
    assert len(rows) == 3
    dense, other, random, rewound = started[:4]
    for at, kept in enumerate(rewound[1]):
        assert torch.equal(dense[0][at], rewound[0][at])
        assert torch.equal(dense[0][at], random[0][at])
        assert not torch.equal(dense[0][at], other[0][at])
        assert torch.equal(other[1][at], kept)
        assert int(random[1][at].sum()) == int(kept.sum())
    assert not torch.equal(random[1][0], rewound[1][0])
    assert sum(int(kept.sum()) for kept in rewound[1]) == round(0.5 * sum(kept.numel() for kept in rewound[1]))


@pytest.mark.usefixtures("small")
def test_a_network_and_a_block_are_imitated() -> None:
    pytest.importorskip("sklearn")
    found = json.loads(json.dumps(next(holds.run(None, {}))))
    curves = {(curve["part"], curve["way"]): curve for curve in found["curves"]}
    assert len(curves) == 10
    for part in holds.PARTS:
        curve = curves[part, "best subset"]
        assert curve["n"] == [1, 4, 6]
        assert sum(curve["median"][2]) < sum(curve["median"][0]) / 4
    assert set(holds.tables(found)) == {"network", "slopes"}


def test_slopes_of_curves_that_are_exactly_as_bounds_say() -> None:
    seeds = range(len(holds.SEEDS))
    single = {"n": [1, 4, 16], "median": [[9.0 for _ in seeds], *([(1 + s) / n for s in seeds] for n in (4, 16))]}
    subset = {"n": [4, 8, 12], "output": [[2.0**-n for _ in seeds] for n in (4, 8, 12)]}
    named = ({"part": "numbers", "way": holds.NAMES[m], **c} for m, c in (("single", single), ("subset", subset)))
    one, other = holds._slopes(list(named))
    assert one["slope"] == pytest.approx(-1)
    assert other["slope"] == pytest.approx(-math.log(2))
    assert other["ci95"] == pytest.approx([-math.log(2)] * 2)


@pytest.mark.usefixtures("small")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "science.md"
    places = [
        f"<!-- table: {science.COMMAND.format(f'images, {what}')} -->"
        for what in ("accuracy", "neighbours", "distance")
    ]
    page.write_text("".join(f"{place}\n<!-- end of table -->\n" for place in places))
    monkeypatch.setattr(science, "PAGE", page)
    monkeypatch.setattr(science, "FOLDER", tmp_path / "kept")

    def call(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["science", *words])
        science.main()

    with pytest.raises(UserError, match="--from is missing: name the folder of the four files of MNIST"):
        call("images")
    call("images", "--from", str(tmp_path))
    kept = json.loads((tmp_path / "kept" / "images.json").read_text())
    assert kept["command"] == "python -m scripts.science images --from FOLDER"
    assert (tmp_path / "kept" / "images.png").stat().st_size
    written = page.read_text()
    assert "| test accuracy in %, seeds: 2 | 100% kept | 50% kept | 25% kept |" in written
    page.write_text(written.replace("50%", "51%"))
    science.tables(page, tmp_path / "kept")
    assert page.read_text() == written
