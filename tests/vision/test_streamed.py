"""Folders too large for memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from one_layer_lt.vision.data import Images, Reading, load
from one_layer_lt.vision.data.streamed import Streamed
from tests.support.pictures import TREE, A, C, all_of, placed, planes, png, refused, seeded, tar


@pytest.mark.parametrize("workers", [0, 1])
def test_streaming_is_as_memory(tmp_path: Path, workers: int) -> None:
    shades = {f"train/{label}/{i}.png": png(*[(i, 0, 0)] * 4) for i in range(10) for label in ("cat", "dog")}
    path = placed(tmp_path, {**TREE, **shades})
    held, streamed = load("folder", path), load("folder", path, in_memory=0, workers=workers)
    assert isinstance(held.train, Images)
    assert isinstance(streamed.train, Streamed)
    assert (len(streamed.train), streamed.train.shape) == (len(held.train), held.train.shape)
    assert (streamed.mean, streamed.std) == (held.mean, held.std)
    state = torch.random.get_rng_state()
    for seed, drop_last in ((None, False), (3, False), (4, True)):
        passes = []
        for split in (held.train, streamed.train):
            generator = None if seed is None else seeded(seed)
            passes.append(list(split.batches(3, generator=generator, drop_last=drop_last)))
        assert [len(labels) for _, labels in passes[0]] == [len(labels) for _, labels in passes[1]]
        for (images, labels), (others, theirs) in zip(*passes):
            assert torch.equal(images, others)
            assert torch.equal(labels, theirs)
    assert torch.equal(torch.random.get_rng_state(), state)  # torch's own generator is left alone


def test_an_archive_too_large_for_memory(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", TREE)
    refused(lambda: load("folder", path, in_memory=40), "a.tar decodes to more than 40 bytes: unpack it")


def test_streaming_over_undecodable_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = placed(tmp_path, TREE)
    data = load("folder", path, in_memory=0, broken="skip", workers=0)
    (path / "train/cat/2.PNG").write_bytes(b"nothing")
    assert len(data.train) == 3
    for _ in range(2):
        images, labels = all_of(data.train, size=1)
        assert images.tolist() == [planes(*A), planes(*C)]
        assert labels.tolist() == [0, 1]
        assert len(data.train) == 2
    (record,) = caplog.records
    assert "1 of 3 images cannot be decoded ('train/cat/2.PNG': neither JPEG nor PNG): left out" in record.getMessage()

    (path / "test/cat/1.png").unlink()
    strict = Streamed(path, ["test/cat/1.png", "test/dog/1.png"], torch.tensor([0, 1]), (3, 2, 2), Reading(workers=0))
    refused(lambda: all_of(strict), "1 of 2 images", "'test/cat/1.png': No such file")
    wide = Streamed(path, ["test/dog/1.png"], torch.tensor([1]), (3, 4, 4), Reading(workers=0))
    refused(lambda: all_of(wide), "'test/dog/1.png'", "2x2", "4x4")
