"""What is asked of a search for translations, and which texts it takes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from one_layer_lt import Decoding
from one_layer_lt.translation import BOUNDS, checked_lines


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("value", [-1e308, 1e308, -math.inf, math.inf, math.nan, 10**400, -(10**400), None, "5", True])
def test_what_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be a (whole )?number from .* to .*, not ") as refused:
        Decoding(**{name: value})
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("name", ["beam", "max_tokens", "max_len_b"])
def test_what_is_counted_is_whole(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be a whole number from \d .*, not 2\.5$"):
        Decoding(**{name: 2.5})


def test_all_that_is_within_bounds_is_taken() -> None:
    for end in (0, 1):
        assert Decoding(**{name: bounds[end] for name, bounds in BOUNDS.items() if name != "max_len_b"})
    assert Decoding(max_len_a=1, length_penalty=-2, max_len_b=0)


@pytest.mark.parametrize(("a", "b"), [(0.1, 0), (0, 0), (0.0, 0), (0.999, 0)])
def test_every_sentence_has_room(a: float, b: int) -> None:
    with pytest.raises(ValueError, match=rf"^max_len_a {a} and max_len_b 0 leave short sentences no room"):
        Decoding(max_len_a=a, max_len_b=b)


def test_texts() -> None:
    assert checked_lines(("a", "")) == ["a", ""]
    assert checked_lines(line for line in "ab") == ["a", "b"]
    with pytest.raises(TypeError, match=r"not one text: translate\(\['one two'\]\)$"):
        checked_lines("one two")
    for bad, shown in ((None, "None"), (3, "3"), (b"x", "b'x'"), (["x"], r"\['x'\]")):
        with pytest.raises(TypeError, match=rf"^text 1 \(from 0\) must be a string, not {shown}$"):
            checked_lines(["a", bad])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="text 0"):
        checked_lines(b"one")  # type: ignore[arg-type]
