"""scripts/results.py: what is kept of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from one_layer_lt.errors import UserError
from scripts import results

LOG = [
    "2026-01-01 | INFO | fairseq_cli.train | {'common': {'seed': 1}}",
    '2026-01-01 | INFO | train_inner | {"epoch": 1, "update": 0.5, "ppl": "90.5", "num_updates": "50", "lr": "0.1"}',
    '{"epoch": 1, "valid_loss": "5.0", "valid_ppl": "60.25", "valid_num_updates": "60"}',
    '{"epoch": 1, "train_loss": "6.0", "train_ppl": "95", "train_num_updates": "60"}',
    '{"epoch": 2, "update": 1.5, "ppl": "33", "num_updates": "100", "train_wall": "9", "wall": "70"}',
    '{"epoch": 2, "update": 1.9, "ppl": "31", "num_updates": "110", "wall": "80"}',
    '{"epoch": 2, "update": 1.5, "ppl": "30", "num_updates": "100", "wall": "25"}',
    '{"epoch": 2, "valid_loss": "4.0", "valid_ppl": "20", "valid_num_updates": "120"}',
]
SCORE = {"bleu": {"score": 34.5, "signature": "nrefs:1|case:mixed"}}


def run_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "train.log").write_text("\n".join(LOG) + "\n")
    return folder


def test_history_keeps_the_latest_of_each_update() -> None:
    train = [[50, 90.5], [100, 30.0], [110, 31.0]]
    assert results.history(LOG) == {"train": train, "valid": [[60, 60.25], [120, 20.0]]}


def test_a_result_is_the_command_the_curve_the_scores_and_the_time_of_both_starts(tmp_path: Path) -> None:
    found = results.result_of(run_folder(tmp_path / "run"), "bash toy.sh", {"test": SCORE})
    assert found == {"command": "bash toy.sh", "curve": results.history(LOG), "test": SCORE, "seconds": 105}
    with pytest.raises(UserError, match=r"no such log: .*train\.log"):
        results.result_of(tmp_path, "bash toy.sh", {})


@pytest.mark.parametrize("text", ["no place\n", "<!-- table: it -->\nnever ends\n"])
def test_a_page_without_a_place_for_the_table_stays_as_it_is(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UserError, match=r"page.md has no place for the table: a line <!-- table: it -->"):
        results.put_table(page, "it", "| new |")
    assert page.read_text() == text
