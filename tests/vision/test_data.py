"""Images, their batches and statistics, and the set that comes with scikit-learn."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from one_layer_lt.optional import MissingPackage
from one_layer_lt.vision.data import DATASETS, Images, load
from one_layer_lt.vision.data.pictures import resize
from one_layer_lt.vision.data.splits import statistics
from tests.support.pictures import refused, seeded

unhurried = settings(deadline=None, max_examples=60)


def numbered(count: int) -> Images:
    """Images of 1x1 whose only value, and whose label, is their number."""
    return Images(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(count))


@unhurried
@given(st.integers(0, 40), st.integers(1, 45), st.booleans(), st.one_of(st.none(), st.integers(0, 2**31)))
def test_every_image_comes_once_with_its_label(count: int, size: int, drop_last: bool, seed: int | None) -> None:
    def numbers() -> list[list[int]]:
        generator = None if seed is None else seeded(seed)
        found = []
        for images, labels in numbered(count).batches(size, generator=generator, drop_last=drop_last):
            assert images.dtype == torch.uint8
            assert labels.dtype == torch.int64
            assert images.shape == (len(labels), 1, 1, 1)
            assert images.flatten().tolist() == labels.tolist()
            found.append(labels.tolist())
        return found

    batches = numbers()
    assert numbers() == batches  # the same seed, the same order
    whole = [len(batch) for batch in batches if len(batch) == size]
    assert len(whole) == count // size
    assert len(batches) == len(whole) + bool(count % size and not drop_last)
    flat = [number for batch in batches for number in batch]
    assert len(set(flat)) == len(flat) == (count // size * size if drop_last else count)
    if seed is None:
        assert flat == list(range(len(flat)))


def test_one_generator_draws_an_order_a_call() -> None:
    generator = seeded(0)
    first, second = (numbered(50).batches(50, generator=generator) for _ in range(2))
    later, sooner = next(second)[1], next(first)[1]  # drawn at the call, not when the batches are taken
    assert not torch.equal(sooner, later)
    assert torch.equal(sooner, next(numbered(50).batches(50, generator=seeded(0)))[1])


def test_a_batch_is_a_copy() -> None:
    split = numbered(3)
    next(split.batches(3))[0].zero_()
    assert split.images.flatten().tolist() == [0, 1, 2]


def test_images_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match=r"images are float32, \(2, 1, 1, 1\)"):
        Images(torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels are int64, \(3,\): they must be int64, \(2,\)"):
        Images(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="a batch of 0"):
        numbered(3).batches(0)


def test_mean_and_std_by_hand() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 51]]], [[[0, 255]], [[51, 51]]]], dtype=torch.uint8)  # (2, 2, 1, 2)
    mean, std = statistics([images[:1], images[1:]])
    assert mean == (0.5, 0.2)
    assert std == (0.5, 1.0)  # a constant channel: 1, so that one can divide


def test_parameters_are_checked() -> None:
    assert list(DATASETS) == ["digits", "mnist", "cifar10", "cifar100", "folder"]
    refused(lambda: load("imagenet"), "'imagenet'", "digits, mnist")
    for wrong in ({"size": 0}, {"broken": "mend"}, {"workers": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            load("digits", None, **wrong)
    for name in ("mnist", "cifar10", "cifar100", "folder"):
        refused(lambda name=name: load(name), name, "root")  # type: ignore[misc]


def test_digits() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    data = load()
    assert (data.name, data.train.shape, data.classes) == ("digits", (1, 8, 8), tuple("0123456789"))
    assert len(data.train) + len(data.test) == 1797
    train, test = (next(split.batches(2000)) for split in (data.train, data.test))
    assert [abs(6 * n - m - n) <= 3 for n, m in zip(test[1].bincount(), train[1].bincount())] == [True] * 10
    again = load("digits")
    assert torch.equal(next(again.test.batches(2000))[0], test[0])

    # All images are there, each once, with its label; and 16 grey levels became 255.
    source = sklearn.load_digits()
    values = torch.tensor([round(v * 255 / 16) for v in range(17)], dtype=torch.uint8)
    expected = {(bytes(values[torch.tensor(i).long()].numpy()), int(t)) for i, t in zip(source.images, source.target)}
    found = [(bytes(i.numpy()), int(t)) for images, labels in (train, test) for i, t in zip(images, labels)]
    assert set(found) == expected
    assert len(found) == 1797


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingPackage, match=r"^sklearn is not installed: pip install 'one_layer_lt\[vision\]'$"):
        load()


def test_size_brings_every_set_to_it() -> None:
    pytest.importorskip("sklearn.datasets")
    assert load("digits", size=16).train.shape == (1, 16, 16)
    assert load("digits", size=8).mean == load("digits").mean
    refused(lambda: load("digits", size=512, in_memory=10_000_000), "digits at size 512", "smaller size")


def test_resize_takes_the_centred_square() -> None:
    images = torch.tensor([[[[9, 100, 200, 9], [9, 0, 100, 9]]]], dtype=torch.uint8)  # (1, 1, 2, 4)
    assert resize(images, 1).tolist() == [[[[100]]]]
    assert resize(images, 2).tolist() == [[[[100, 200], [0, 100]]]]
    assert resize(images.expand(1, 3, 2, 4), 2)[0, 2].tolist() == [[100, 200], [0, 100]]
