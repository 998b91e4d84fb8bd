"""The Moses tokenizer and cleaner, with hand-worked answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from one_layer_lt.errors import UserError
from one_layer_lt.text import moses


def tokenized(tmp_path: Path, lines: list[str], language: str, **how: bool) -> list[str]:
    (tmp_path / "in").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    moses.tokenize(tmp_path / "in", tmp_path / "out", language, **how)
    return (tmp_path / "out").read_text(encoding="utf-8").split("\n")[:-1]


def test_languages_differ_in_prefixes_and_apostrophes(tmp_path: Path) -> None:
    assert tokenized(tmp_path, ["Dr. No doesn't pay 5,300 [now]..."], "en") == [
        "Dr. No doesn &apos;t pay 5,300 &#91; now &#93; ..."
    ]
    assert tokenized(tmp_path, ["Das ist's, z.B. bzw. & so."], "de") == ["Das ist &apos; s , z.B. bzw. &amp; so ."]


def test_every_line_has_its_line(tmp_path: Path) -> None:
    assert tokenized(tmp_path, ["", "a", "   ", "b\u2028c"], "en") == ["", "a", "   ", "b c"]


def test_lower_case_is_perls(tmp_path: Path) -> None:
    # Perl knows no final sigma; Python's str.lower would write ς.
    assert tokenized(tmp_path, ["ÄÖÜ ẞ ΣΑΣ"], "de", lowercase=True) == ["äöü ß σασ"]


def test_aggressive(tmp_path: Path) -> None:
    assert tokenized(tmp_path, ["well-known"], "en", aggressive=True) == ["well @-@ known"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("in the U.S.", "in the U.S ."),
        ("U.S.", "U.S ."),
        ("the U.S. is", "the U.S. is"),
        ("Well ...", "Well ..."),
        ("Plan B.", "Plan B ."),
        (".", "."),
        ("Apple Inc. Is big", "Apple Inc . Is big"),
        ("Apple Inc. is big", "Apple Inc. is big"),
        ("I had 5,", "I had 5 ,"),
    ],
)
def test_as_the_current_moses(tmp_path: Path, line: str, expected: str) -> None:
    assert tokenized(tmp_path, [line], "en") == [expected]


def test_clean() -> None:
    pairs = [
        ("a b", "a b"),
        ("", "a"),  # empty
        ("a b c", "a b"),  # ratio 1.5: kept
        ("a b c d", "a b"),  # ratio 2
        ("a b c d e", "a b c d e"),  # exactly the longest
        ("a b c d e f", "a b c d e"),  # too long
        ("x" * 1000, "a"),  # the longest word that is kept
        ("x" * 1001, "a"),
    ]
    assert list(moses.clean(pairs, 1, 5, 1.5)) == [0, 2, 4, 6]


def test_perl_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a\n" * 100_000)
    with pytest.raises(UserError, match="Moses failed on in: no luck"):
        moses.pipe([("perl", "-e", 'die "no luck\\nand more\\n"'), moses.LOWERCASE], tmp_path / "in", tmp_path / "out")


def test_no_perl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_text("a\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="perl is not installed"):
        moses.tokenize(tmp_path / "in", tmp_path / "out", "en")
