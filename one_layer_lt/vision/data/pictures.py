"""One picture at a time: JPEG and PNG to pixels, and pixels to a size. Pillow does the work."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...optional import need

Pixels = npt.NDArray[np.uint8]

MOST_BYTES = 64 << 20  # of a picture's file
_ANY_FILE, _A_BYTE = 1 << 24, 100  # pixels that any file may have, and for each of its bytes
_FORMATS = ("JPEG", "PNG")


class Undecodable(ValueError):
    """A picture that cannot be decoded; the message says why, in one line."""


def decode(content: bytes, size: int | None = None) -> Pixels:
    """The pixels of a JPEG or PNG file: uint8, (3, height, width); grey is repeated, transparency dropped.

    size: as for ``Reading``. Raises ``Undecodable``, also for a file of more pixels than Pillow lets pass
    (``PIL.Image.MAX_IMAGE_PIXELS``) or so many bytes hold, and ``MissingPackage`` where there is no Pillow.
    """
    image = _pillow()
    if len(content) > MOST_BYTES:
        raise Undecodable(f"it is of more than {MOST_BYTES:,} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", image.DecompressionBombWarning)
            with image.open(io.BytesIO(content), formats=_FORMATS) as picture:
                if math.prod(picture.size) > _ANY_FILE + _A_BYTE * len(content):
                    raise Undecodable(f"it claims {math.prod(picture.size):,} pixels in {len(content):,} bytes")
                fitted = np.asarray(_fitted(_rgb(picture), size))
    except Exception as error:  # Pillow's decoders raise whatever they stumble over; no file is open here
        raise Undecodable(_reason(error)) from error
    return np.ascontiguousarray(fitted.transpose(2, 0, 1))


def resize(images: Tensor, size: int) -> Tensor:
    """Images uint8, (n, 1 or 3, height, width), each brought to ``size`` as by ``decode``: (n, 1 or 3, size, size)."""
    if tuple(images.shape[2:]) == (size, size):
        return images
    image = _pillow()
    resized = np.empty((len(images), images.shape[1], size, size), np.uint8)
    for pixels, out in zip(images.numpy(), resized):
        picture = image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        fitted = np.asarray(_fitted(picture, size))
        out[:] = fitted if fitted.ndim == 2 else fitted.transpose(2, 0, 1)
    return torch.from_numpy(resized)


def _rgb(picture: Any) -> Any:
    if picture.mode.startswith("I"):  # 16 bits of grey, whose values Pillow would clip, not scale
        picture = _pillow().fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGB")


def _fitted(picture: Any, size: int | None) -> Any:
    """The largest centred square, scaled to (size, size) with antialiasing; the picture as it is for None."""
    width, height = picture.size
    if size is None or (width, height) == (size, size):
        return picture
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), _pillow().Resampling.BILINEAR)


def _reason(error: Exception) -> str:
    """In one line, and without the address of the buffer that Pillow's message shows."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "neither JPEG nor PNG"
    return " ".join(str(error).split()) or type(error).__name__


def _pillow() -> Any:
    return need("PIL.Image", "vision")
