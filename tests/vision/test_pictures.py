"""Decoding of single images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from one_layer_lt.vision.data.pictures import Undecodable, decode
from tests.support.pictures import BLUE, GREEN, RED, A, planes, png


def test_decoding_by_hand() -> None:
    assert decode(png(RED, GREEN, BLUE, RED)).tolist() == planes(RED, GREEN, BLUE, RED)
    assert decode(png((7,), (8,), (9,), (250,), mode="L")).tolist() == [[[7, 8], [9, 250]]] * 3
    assert decode(png((1, 2, 3, 0), (4, 5, 6, 255), width=1))[:, 1, 0].tolist() == [4, 5, 6]  # RGBA
    assert decode(png((1, 2, 3, 0), (4, 5, 6, 255), width=1))[:, 0, 0].tolist() == [1, 2, 3]
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 256], [32768, 65535]], np.uint16)).save(out, "PNG")
    assert decode(out.getvalue()).tolist() == [[[0, 1], [128, 255]]] * 3
    out = io.BytesIO()
    Image.new("CMYK", (2, 2), (0, 0, 0, 255)).save(out, "JPEG")
    assert decode(out.getvalue()).max() <= 2


def test_decoding_refuses_bombs_and_other_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels in (3, 1):  # Pillow warns from one limit on, and raises from twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
        with pytest.raises(Undecodable, match="decompression bomb"):
            decode(png(*A))
    monkeypatch.undo()
    out = io.BytesIO()
    Image.new("RGB", (2, 2)).save(out, "BMP")
    with pytest.raises(Undecodable, match="neither JPEG nor PNG"):
        decode(out.getvalue())
    monkeypatch.setattr("one_layer_lt.vision.data.pictures.MOST_BYTES", 10)
    with pytest.raises(Undecodable, match="more than 10 bytes"):
        decode(png(*A))
