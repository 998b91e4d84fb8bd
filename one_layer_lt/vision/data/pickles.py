"""What CIFAR's pickled files hold, and nothing else: a pickle can otherwise run whatever its writer likes.

Three names are known in a pickle, those by which it describes a numpy array, and each becomes a harmless thing of this
file: not even numpy gets to see what the pickle says before it is checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np
import numpy.typing as npt


class UnsafePickle(ValueError):
    """A pickle with more in it than plain data; the message says what."""


def load_plain(content: bytes) -> Any:
    """The dict, list, number, str, bytes or ``Described`` array in a pickle. Python 2's strings become bytes.

    Raises ``UnsafePickle`` for anything else, and where the pickle is damaged.
    """
    try:
        _check_memo(content)
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except UnsafePickle:
        raise
    except Exception as error:  # the documentation of pickle names some, and says that there are others
        raise UnsafePickle("is damaged") from error


class Described:
    """A numpy array as a pickle describes it."""

    state: object = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def bytes_array(self) -> npt.NDArray[np.uint8]:
        """The array, uint8. Raises ``UnsafePickle`` where it is none of that type, or of another size than it says."""
        if isinstance(self.state, tuple) and len(self.state) == 5:
            _, shape, dtype, column_major, raw = self.state
            fits = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape) and isinstance(raw, bytes)
            if fits and isinstance(dtype, _Type) and dtype.name in ("u1", b"u1") and math.prod(shape) == len(raw):
                return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if column_major else "C")
        raise UnsafePickle("holds an array that is not of bytes")


class _Type:
    """A numpy dtype as a pickle describes it; its byte order does not matter to bytes."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): Described,
    ("numpy._core.multiarray", "_reconstruct"): Described,
    ("numpy", "ndarray"): "ndarray",  # an argument of the above, which has no use for it
    ("numpy", "dtype"): _Type,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise UnsafePickle(f"asks for {f'{module}.{name}'!r}") from None


def _check_memo(content: bytes) -> None:
    """Refuse notes numbered beyond their count: pickle would make room for all the numbers below, gigabytes of it."""
    notes = 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            notes += 1
            if not isinstance(argument, int) or argument > notes:
                raise UnsafePickle("is damaged")
