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


def test_history_keeps_the_latest_of_each_update() -> None:
    train = [[50, 90.5], [100, 30.0], [110, 31.0]]
    assert results.history(LOG) == {"train": train, "valid": [[60, 60.25], [120, 20.0]]}


def test_a_log_tells_the_curve_and_the_time_of_both_starts(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    with pytest.raises(UserError, match=r"no such log: .*train\.log"):
        results.trained(log)
    log.write_text("\n".join(LOG) + "\n")
    assert results.trained(log) == {"curve": results.history(LOG), "seconds": 105}
