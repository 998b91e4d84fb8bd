"""scripts/experiments/pruning.py: where controls start, and what is said of invented results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_plugins.checkpoints import load
from fairseq_plugins.commands import prune
from one_layer_lt.pruning import pruned_modules, pruned_weight
from scripts.experiments import pruning
from scripts.quantize import quantize
from tests.cli.test_prune import ORIGINAL, REWIND, prune_rounds, stand_in, updates_of
from tests.plugin import conftest as toy
from tests.plugin.running import load_model

corpus = toy.corpus


@pytest.fixture(scope="module")
def rounds(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruning")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prune, "fairseq_train", stand_in([]))
        prune_rounds(folder, corpus, rounds=1)
    return folder


def start(rounds: Path, folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The states of a control's start, of the round that it belongs to, and of the update that weights go back to."""
    pruned, rewind = rounds / "round1" / prune.LAST, rounds / "rewind.pt"
    pruning._start(folder, name, pruned, rewind)
    return load(folder / prune.LAST), load(pruned), load(rewind)


def test_reinitialised_weights_are_under_the_masks_of_the_round(rounds: Path, tmp_path: Path) -> None:
    control, pruned, rewind = start(rounds, tmp_path / "control", pruning.REINITIALISED)
    assert control["model"].keys() == rewind["model"].keys()
    for name, tensor in control["model"].items():
        if name.endswith(prune.MASK):
            assert torch.equal(tensor, pruned["model"][name])
        if name.endswith(ORIGINAL):
            assert not torch.equal(tensor, rewind["model"][name])
    assert updates_of(control) == REWIND
    averages = control["last_optimizer_state"]["state"].values()
    assert not any(each[name].any() for each in averages for name in ("exp_avg", "exp_avg_sq"))


def test_a_random_mask_keeps_as_many_weights_of_each_tensor(rounds: Path, tmp_path: Path) -> None:
    control, pruned, rewind = start(rounds, tmp_path / "control", pruning.RANDOM)
    changed = 0
    for name, tensor in control["model"].items():
        if name.endswith(prune.MASK):
            assert tensor.sum() == pruned["model"][name].sum()
            changed += int(not torch.equal(tensor, pruned["model"][name]))
        else:
            assert torch.equal(tensor, rewind["model"][name])
    assert changed > 10
    assert updates_of(control) == REWIND


def test_what_is_pruned_stays_zero_where_weights_are_rounded(rounds: Path, tmp_path: Path) -> None:
    last = rounds / "round1" / prune.LAST
    _, bytes_ = quantize(last, 4, tmp_path / "small.pt")
    _, whole = quantize(rounds / "round0" / prune.LAST, 4, tmp_path / "whole.pt")
    assert bytes_ <= whole
    plain = dict(load_model(tmp_path / "small.pt").named_modules())
    for name, module in pruned_modules(load_model(last)):
        mask = pruned_weight(module).mask
        assert not plain[name].weight[~mask].any()
        assert plain[name].weight[mask].any()


def row(name: str, keep: float, bleu: float, bytes_: int) -> dict[str, Any]:
    def scored(score: float) -> dict[str, float]:
        return {"score": score, "brevity_penalty": 0.98}

    return {"name": name, "keep": keep, "trained": scored(bleu), "rounded": scored(bleu - 1), "bytes": bytes_}


def test_the_table_and_the_plot_have_hidden_tickets_beside_trained_ones(tmp_path: Path) -> None:
    rows = [row(pruning.REWOUND, 1, 30.5, 1_234_567), row(pruning.RANDOM, 0.168, 20.25, 300_000)]
    result = json.loads(json.dumps({"rows": rows}))
    lines = pruning.tables(result)["models"].splitlines()
    assert lines[0] == "| model | kept | valid BLEU | brevity penalty | valid BLEU at 4 bits | kB |"
    assert lines[2] == "| pruned by magnitude, rewound | 100.0% | 30.50 | 0.980 | 29.50 | 1,235 |"
    assert lines[3] == "| pruned at random, rewound | 16.8% | 20.25 | 0.980 | 19.25 | 300 |"
    hidden = [line.split(" | ")[:2] for line in lines[4:]]
    assert ["| masks over random weights: keep 0.35", "35.0%"] in hidden
    assert len(hidden) == len(pruning.HIDDEN)
    pruning.draw(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size
