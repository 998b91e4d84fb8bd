"""Reading and writing parallel text."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_layer_lt.errors import UserError
from one_layer_lt.text.lines import read_lines, read_pairs, select, tidy, write_pairs


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_only_newlines_end_lines(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "text"
    path.write_bytes(pack("\ufeffeins\r\nzwei\rdrei\n\nvier\u2028fünf\x85sechs".encode()))
    assert list(read_lines(path)) == ["eins", "zwei drei", "", "vier\u2028fünf\x85sechs"]


def test_tidy() -> None:
    assert tidy(" ein\u00a0\t m²\u2028Haus\x00\u200b\ufeff …  ") == "ein m² Haus …"


@given(st.text(), st.text())
def test_tidy_leaves_one_line_of_single_spaces(left: str, right: str) -> None:
    line = tidy(left + "\n" + right)
    assert line == " ".join(line.split())
    assert len(line.splitlines()) <= 1
    assert tidy(line) == line


@given(st.lists(st.tuples(st.text().map(tidy), st.text().map(tidy))))
def test_what_is_written_is_read(pairs: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "a", Path(folder) / "b"
        assert write_pairs(pairs, files) == len(pairs)
        assert list(read_pairs(files)) == pairs


def test_different_lengths_name_both_files_and_counts(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_text("1\n2\n3\n")
    (tmp_path / "a.en").write_text("1\n")
    with pytest.raises(UserError, match=r"a\.de has 3 lines but .*a\.en has 1:"):
        list(read_pairs((tmp_path / "a.de", tmp_path / "a.en")))


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"good\nb\xe4d\n")
    with pytest.raises(UserError, match="a: line 2 is not UTF-8"):
        list(read_lines(tmp_path / "a"))


def test_gzip_cut_short(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"line\n" * 1000)[:-12])
    with pytest.raises(UserError, match=r"a\.gz: gzip file cut short"):
        list(read_lines(tmp_path / "a.gz"))


@given(st.sets(st.integers(0, 30)))
def test_select(positions: set[int]) -> None:
    pairs = [(str(i), str(-i)) for i in range(20)]
    assert list(select(pairs, sorted(positions))) == [pairs[i] for i in sorted(positions) if i < 20]
