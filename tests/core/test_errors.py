"""What the library says, said of a command's flags."""

from __future__ import annotations

import pytest

from one_layer_lt.errors import flagged

FLAGS = {"keep": "--keep", "drop": "--frozen-dropped", "max_len_a": "--max-len-a"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("keep must be in (0, 1], not 2", "--keep must be in (0, 1], not 2"),
        ("keep: the rule sign has no keep ratio", "--keep: the rule sign has no keep ratio"),
        (
            "keep 0.5 is over what drop 0.7 leaves: keep fewer",
            "--keep 0.5 is over what --frozen-dropped 0.7 leaves: keep fewer",
        ),
        ("no max_len_a", "no --max-len-a"),
        ("drop -1 keeps", "--frozen-dropped -1 keeps"),
        ("the rule keep_x keeps keep", "the rule keep_x keeps keep"),
        ("it has --my-keep 2, --keep 1", "it has --my-keep 2, --keep 1"),
        ("", ""),
    ],
)
def test_arguments_are_told_from_words(said: str, expected: str) -> None:
    assert flagged(ValueError(said), FLAGS) == expected
