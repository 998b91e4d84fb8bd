"""Every kind of weight that can be masked: it runs, learns by scores alone, folds, and comes back from its ticket."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from one_layer_lt import (
    MaskConfig,
    fold_,
    load_ticket,
    mask_,
    masked_weight,
    project_,
    save_ticket,
    scores_of,
    summarize,
)
from one_layer_lt.convert import masked_places
from one_layer_lt.maskable import MASKABLE, maskable_places
from one_layer_lt.parametrization import masked_at
from one_layer_lt.pruning import fold_pruned_, prunable_, prune_


class Attention(nn.Module):
    """Self-attention, with packed projections or, where keys are of another width, one each."""

    def __init__(self, width: int | None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=width, vdim=width, batch_first=True)
        self.width = 8 if width is None else width

    def forward(self, x: Tensor) -> Tensor:
        other = x[..., : self.width]
        return self.attention(x, other, other)[0]


class First(nn.Module):
    """The first thing that a recurrent module gives back."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        found = self.module(x)
        return found[0] if isinstance(found, tuple) else found


class Steps(nn.Module):
    """Two steps of a cell, so that its state counts."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x, self.cell(x))[0]


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(8, 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.bilinear(x, x)


SEQUENCE, TOKENS = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1)), torch.arange(12).view(2, 6)
LAYER = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0, "batch_first": True}

# kind: (new model, its input, names of what is masked)
KINDS: dict[str, tuple[Callable[[], nn.Module], Tensor, set[str]]] = {
    "convolution, 1-D": (lambda: nn.Sequential(nn.Conv1d(6, 4, 3, groups=2)), SEQUENCE, {"0"}),
    "convolution, 3-D": (lambda: nn.Sequential(nn.Conv3d(2, 4, (1, 2, 3))), SEQUENCE.view(1, 2, 2, 4, 6), {"0"}),
    "transposed, 2-D": (lambda: nn.Sequential(nn.ConvTranspose2d(2, 4, 3)), SEQUENCE.view(2, 2, 4, 6), {"0"}),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(12, 8)), TOKENS, {"0"}),
    "bilinear": (Two, SEQUENCE, {"bilinear"}),
    "packed attention": (lambda: Attention(None), SEQUENCE, {"attention.in_proj_weight", "attention.out_proj"}),
    "attention": (
        lambda: Attention(4),
        SEQUENCE,
        {f"attention.{name}_proj_weight" for name in "qkv"} | {"attention.out_proj"},
    ),
    "lstm": (
        lambda: First(nn.LSTM(8, 5, num_layers=2, bidirectional=True, proj_size=3, batch_first=True)),
        SEQUENCE,
        {f"module.weight_{kind}_l{i}{way}" for kind in ("ih", "hh", "hr") for i in (0, 1) for way in ("", "_reverse")},
    ),
    "gru": (lambda: First(nn.GRU(8, 5)), SEQUENCE, {"module.weight_ih_l0", "module.weight_hh_l0"}),
    "cell": (Steps, SEQUENCE[0], {"cell.weight_ih", "cell.weight_hh"}),
    "transformer": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(**LAYER), 2),
        SEQUENCE,
        {f"layers.{i}.{n}" for i in (0, 1) for n in ("self_attn.in_proj_weight", "self_attn.out_proj")}
        | {f"layers.{i}.linear{n}" for i in (0, 1) for n in (1, 2)},
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[Callable[[], nn.Module], Tensor, set[str]]:
    found: tuple[Callable[[], nn.Module], Tensor, set[str]] = KINDS[request.param]
    return found


def test_it_runs_learns_folds_and_reloads(
    kind: tuple[Callable[[], nn.Module], Tensor, set[str]], tmp_path: Path
) -> None:
    new, data, names = kind
    model = mask_(new(), MaskConfig(keep=0.4))
    assert {place.name for place in masked_places(model)} == names
    assert {p for p in model.parameters() if p.requires_grad} == {place.original for place in masked_places(model)}
    assert not any(bool(p.any()) for name, p in model.named_parameters() if "bias" in name)
    start = [place.original.clone() for place in masked_places(model)]
    (model.train()(data) * torch.randn(1)).square().sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=5.0).step()
    for place, before in zip(masked_places(model), start):
        assert not torch.equal(place.original, before)
        assert int((place.value != 0).sum()) == round(0.4 * place.value.numel())
        weight = masked_at(place).shared.weight
        assert torch.equal(place.value, torch.where(place.value == 0, torch.zeros_like(weight), weight))
    with torch.no_grad():
        expected = model.eval()(data)
        save_ticket(tmp_path / "net.ticket", model)
        filled = load_ticket(tmp_path / "net.ticket").fill_(new())
        torch.testing.assert_close(filled(data), expected)
        copied = copy.deepcopy(model)
        folded = fold_(model)
        torch.testing.assert_close(folded(data), expected)
        torch.testing.assert_close(copied(data), expected)  # which does not fold with it
    assert {name for name, _ in folded.named_parameters()} == {name for name, _ in new().named_parameters()}
    assert new().load_state_dict(folded.state_dict())


def test_it_imitates_and_is_pruned(kind: tuple[Callable[[], nn.Module], Tensor, set[str]]) -> None:
    new, data, names = kind
    dense = new()
    assert set(project_(mask_(new(), MaskConfig(rule="sign")), dense)) == names
    before = dense(data)
    prunable_(dense)
    torch.testing.assert_close(dense(data), before)
    pruned = fold_pruned_(prune_(dense, 0.5))
    weights = [place.original for place in maskable_places(pruned)]
    assert sum(int((w != 0).sum()) for w in weights) == round(0.5 * sum(w.numel() for w in weights))


def test_recurrent_weights_change_with_their_scores() -> None:
    model = mask_(nn.LSTM(8, 5), MaskConfig()).eval()
    with torch.no_grad():
        before = model(SEQUENCE)[0]
        scores_of(model, "weight_hh_l0").neg_().add_(0.1)
        assert not torch.equal(model(SEQUENCE)[0], before)
    assert masked_weight(model, "weight_hh_l0").name == "weight_hh_l0"


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_is_copied_after_it_has_run(kind: type[nn.Module]) -> None:
    model = mask_(kind(8, 5), MaskConfig())
    out = model(SEQUENCE)[0]
    assert torch.equal(copy.deepcopy(model)(SEQUENCE)[0], out)
    out.sum().backward()


class Negated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x


def test_folding_leaves_copies_of_a_module_with_other_parametrizations() -> None:
    model = nn.Linear(8, 4)
    nn.utils.parametrize.register_parametrization(model, "bias", Negated())
    mask_(model, MaskConfig())
    copied, data = copy.deepcopy(model), torch.randn(2, 8)
    expected = model(data)
    torch.testing.assert_close(fold_(model)(data), expected)
    torch.testing.assert_close(copied(data), expected)
    assert not nn.utils.parametrize.is_parametrized(model, "weight")
    assert nn.utils.parametrize.is_parametrized(model, "bias")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear(0, 4), r"weight has shape \[4, 0\]: a mask needs two dimensions"),
        (nn.Sequential(nn.Embedding(5, 4, sparse=True)), "0 has sparse gradients"),
        (nn.utils.weight_norm(nn.Linear(3, 4)), "weight is computed by torch.nn.utils' weight_norm"),
        (nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 4)), nn.Linear(4, 4)), "0.weight is computed by"),
        (prune.l1_unstructured(nn.Linear(3, 4), "weight", 0.5), "prune: remove that first, by remove_weight_norm"),
        (nn.utils.weight_norm(nn.LSTM(3, 4), "weight_hh_l0"), "weight_hh_l0 is computed by"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_no_mask_could_train_is_refused(model: nn.Module, said: str) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=said):
        mask_(model, MaskConfig())
    assert before.keys() == model.state_dict().keys()


def test_a_module_with_a_hook_may_be_left_as_it_is() -> None:
    model = nn.Sequential(prune.l1_unstructured(nn.Linear(3, 4), "weight", 0.5), nn.Linear(4, 4))
    mask_(model, configure=lambda name, module: None if name == "0" else MaskConfig())
    assert [place.module_name for place in masked_places(model)] == ["1"]


def test_a_padding_row_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"the padding row of words \(row 2\) is not zero under a mask"):
        model = mask_(nn.ModuleDict({"words": nn.Embedding(5, 4, padding_idx=2)}), MaskConfig(keep=1.0))
    assert bool(model["words"].weight[2].any())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask_(nn.Embedding(5, 4), MaskConfig())
        kept = mask_(nn.Embedding(5, 4, padding_idx=2), MaskConfig(init="existing"))
    assert not kept.weight[2].any()


class Own(nn.Module):
    """A module of one's own that holds a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Parameter(torch.ones(4, 8)), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) @ self.table


class TestTheRest:
    def test_is_named_in_one_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        mask_(nn.Sequential(Own(), nn.LayerNorm((6, 8))), MaskConfig())
        said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
        assert len(said) == 1
        assert "0.table (4, 8), 1.weight (6, 8), 1.bias (6, 8) dense and frozen" in said[0]

    @pytest.mark.parametrize("how", ["trained", "known", "all known"])
    def test_no_warning(self, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        if how == "known":
            monkeypatch.setitem(MASKABLE, Own, ("table",))
        model = Own() if how != "all known" else nn.Linear(4, 4)
        mask_(model, MaskConfig(), trainable=["table"] if how == "trained" else [])
        assert not [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(list(masked_places(model))) == (2 if how == "known" else 1)

    def test_what_configure_leaves_is_chosen(self, caplog: pytest.LogCaptureFixture) -> None:
        mask_(Attention(None), configure=lambda name, _: None if name.endswith("out_proj") else MaskConfig())
        assert not [record for record in caplog.records if record.levelno == logging.WARNING]

    def test_summary_lists_them(self) -> None:
        counted = summarize(mask_(Own(), MaskConfig(), trainable=["linear.bias"]))
        assert [(each.name, each.kind, each.numbers) for each in counted.tensors] == [
            ("table", "frozen", 32),
            ("linear.bias", "trained", 4),
            ("linear.weight", "masked", 32),
        ]
        assert (counted.trained, counted.frozen, counted.scores) == (4, 32, 32)
        assert "frozen              32  table [4, 8]" in str(counted)


def test_a_lazy_layer_is_refused_until_it_has_seen_a_batch() -> None:
    model = nn.Sequential(nn.LazyLinear(4))
    with pytest.raises(ValueError, match="0 is lazy and has no weight yet: run one batch"):
        mask_(model, MaskConfig())
    model(torch.randn(2, 3))
    mask_(model, MaskConfig())


@pytest.mark.parametrize("both", [True, False])
def test_config_and_configure_exclude_each_other(both: bool) -> None:
    with pytest.raises(ValueError, match="either a config for all modules, or configure"):
        mask_(nn.Linear(3, 2), MaskConfig() if both else None, configure=(lambda *_: MaskConfig()) if both else None)
