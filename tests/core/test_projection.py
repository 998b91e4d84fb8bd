"""``project_``: by hand on 2 x 3, what theory says of large tensors, ties, layouts, and what is refused."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from itertools import combinations, product
from statistics import NormalDist
from typing import Any, Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import RULES, MaskConfig, fold_, mask_, masked_modules, masked_weight, project_, scores_of
from one_layer_lt.projection import Projection
from one_layer_lt.rules import MaskRule
from one_layer_lt.rules.imitation import gains, halves
from tests.support.models import Images, Stacks, Tied

RANDOM = torch.tensor([[1.0, -2.0, 1.0], [-1.0, 2.0, 1.0]])
DENSE = torch.tensor([[3.0, 1.0, -2.0], [-0.5, 2.0, 0.1]])  # products 3, -2, -2; 0.5, 4, 0.1
SIZE = math.sqrt(18.26)  # of DENSE

# rule, options -> mask, and the cosine to DENSE
HAND: dict[str, tuple[str, dict[str, Any], Any, float]] = {
    "edge_popup": ("edge_popup", {}, [[1, 0, 0], [1, 1, 0]], 7.5 / math.sqrt(6) / SIZE),
    "iterand": ("iterand", {}, [[1, 0, 0], [1, 1, 0]], 7.5 / math.sqrt(6) / SIZE),
    "topk": ("topk", {}, [[1, 0, 0], [1, 1, 0]], 7.5 / math.sqrt(6) / SIZE),
    "sign": ("sign", {}, [[1, -1, -1], [1, 1, 1]], 11.6 / math.sqrt(12) / SIZE),
    # Of the two products of -2 that of the smaller random weight costs less.
    "signed": ("signed", {}, [[1, 0, -1], [0, 1, 0]], 9 / math.sqrt(6) / SIZE),
    "signed by threshold": ("signed", {"threshold": 0.1}, [[1, 0, -1], [1, 1, 0]], 9.5 / math.sqrt(7) / SIZE),
    "biprop": ("biprop", {}, [[1, 0, 0], [1, 1, 0]], 5.5 / math.sqrt(3) / SIZE),
    "multicoat": (
        "multicoat",
        {"coats": (1 / 2, 1 / 3, 1 / 6)},
        [[3, 0, 0], [1, 2, 0]],
        (9 + 0.5 + 8) / math.sqrt(9 + 1 + 16) / SIZE,
    ),
    # As many as help: at the best factor, 1.4, the product of 0.5 is too small to be kept.
    **{
        rule: (rule, options, [[1, 0, 0], [0, 1, 0]], 7 / math.sqrt(5) / SIZE)
        for rule, options in {
            "threshold": {"threshold": 0.2},
            "sigmoid_threshold": {"threshold": 0.4},
            "bernoulli": {},
            "annealed": {},
            "continuous": {},
            "gem_miner": {},
        }.items()
    },
}


def projected(config: MaskConfig, random: torch.Tensor, dense: torch.Tensor) -> tuple[nn.Linear, Any]:
    """A layer that masks ``random`` as it stands, imitating ``dense``, and what came of it."""
    layer = nn.Linear(random.shape[1], random.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(random)
    mask_(layer, config)
    return layer.eval(), project_(layer, {"weight": dense})[""]


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case: str) -> None:
    rule, options, mask, cosine = HAND[case]
    layer, found = projected(MaskConfig(rule=rule, options=options, init="existing"), RANDOM, DENSE)
    assert masked_weight(layer).mask(scores_of(layer).detach()).tolist() == mask
    assert found.cosine == pytest.approx(cosine)
    effective = layer.weight.detach()
    assert found.factor == pytest.approx(float((effective * DENSE).sum() / effective.square().sum()), rel=1e-5)
    assert torch.equal(fold_(layer).weight, effective)


def test_every_rule_is_worked_out() -> None:
    assert {rule for rule, *_ in HAND.values()} == set(RULES)


def test_scores_spread_as_standard_ones_do() -> None:
    bound = 1 / math.sqrt(3)
    ranked, _ = projected(MaskConfig(init="existing"), RANDOM, DENSE)
    order = torch.tensor([[5.5, 0.5, 1.5], [3.5, 4.5, 2.5]])
    torch.testing.assert_close(scores_of(ranked).detach(), bound * order / 6)
    signs, _ = projected(MaskConfig(rule="sign", init="existing"), RANDOM, DENSE)
    scale = bound / math.sqrt(3) / (SIZE / math.sqrt(6))
    torch.testing.assert_close(scores_of(signs).detach(), DENSE * RANDOM.sign() * scale)


NORMAL = NormalDist()


def ternary(keep: float) -> float:
    """The best cosine of a tensor of which ``keep`` is +c or -c, the rest zero, to a Gaussian one."""
    return 2 * NORMAL.pdf(NORMAL.inv_cdf(1 - keep / 2)) / math.sqrt(keep)


@pytest.mark.parametrize(
    ("config", "cosine"),
    [
        (MaskConfig(rule="sign", init="signed_constant"), math.sqrt(2 / math.pi)),
        (MaskConfig(rule="sign"), math.sqrt(2 / math.pi) * math.sqrt(3) / 2),  # uniform magnitudes: E|w| / sqrt(E w^2)
        (MaskConfig(rule="signed", keep=0.6, init="signed_constant"), ternary(0.6)),
        (MaskConfig(rule="signed", keep=0.2, init="signed_constant"), ternary(0.2)),
        (MaskConfig(init="signed_constant"), NORMAL.pdf(0) / math.sqrt(0.5)),
        (MaskConfig(keep=0.3, init="signed_constant"), NORMAL.pdf(NORMAL.inv_cdf(0.7)) / math.sqrt(0.3)),
        (MaskConfig(keep=1.0), 0.0),  # nothing to choose
    ],
    ids=str,
)
def test_what_theory_says_of_a_gaussian(config: MaskConfig, cosine: float) -> None:
    dense = nn.Linear(400, 300, bias=False)
    nn.init.normal_(dense.weight)
    assert project_(mask_(nn.Linear(400, 300, bias=False), config), dense)[""].cosine == pytest.approx(cosine, abs=0.01)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from(["sign", "edge_popup", "biprop", "signed"]))
def test_no_mask_is_closer(seed: int, rule: str) -> None:
    """Over weights of one magnitude, of all masks that the rule may give."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(2, 3, generator=generator)
    random = torch.randn(2, 3, generator=generator).sign()
    _, found = projected(MaskConfig(rule=rule, init="existing"), random, dense)
    places = [p for k in (range(7) if rule == "sign" else [3]) for p in combinations(range(6), k)]
    best = -1.0
    for place in places:
        mask = -torch.ones(6) if rule == "sign" else torch.zeros(6)
        for signs in product([1.0, -1.0], repeat=3) if rule == "signed" else [(1.0,) * len(place)]:
            mask[list(place)] = torch.tensor(signs)
            effective = mask.view(2, 3) * random
            best = max(best, float((effective * dense).sum() / effective.norm() / dense.norm()))
    assert found.cosine == pytest.approx(max(best, found.cosine), abs=1e-6)
    assert found.cosine >= best - 1e-6


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from(["threshold", "bernoulli", "annealed", "gem_miner"]))
def test_no_number_of_weights_is_closer(seed: int, rule: str) -> None:
    """Where a rule may keep as many as it likes, over random weights of any magnitudes."""
    generator = torch.Generator().manual_seed(seed)
    random, dense = (torch.randn(2, 4, generator=generator).pow(3) for _ in range(2))
    _, found = projected(MaskConfig(rule=rule, init="existing"), random, dense)
    best = -1.0
    for kept in product([0.0, 1.0], repeat=8):
        effective = torch.tensor(kept).view(2, 4) * random
        if effective.any():
            best = max(best, float((effective * dense).sum() / effective.norm() / dense.norm()))
    assert found.cosine == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("rule", ["edge_popup", "sign", "signed", "multicoat", "threshold"])
@pytest.mark.parametrize(("weight", "target"), [(1e-25, 1.0), (1e20, 1.0), (1.0, 1e20), (1.0, 1e-25)])
def test_sizes_do_not_matter(rule: str, weight: float, target: float) -> None:
    random, dense = torch.randn(8, 8), torch.randn(8, 8)
    plain, _ = projected(MaskConfig(rule=rule, init="existing"), random, dense)
    other, _ = projected(MaskConfig(rule=rule, init="existing"), random * weight, dense * target)
    masks = [masked_weight(layer).mask(scores_of(layer).detach()) for layer in (plain, other)]
    assert torch.equal(*masks)


@pytest.mark.parametrize(
    "config",
    [
        MaskConfig(tiles=(2, 2), keep=0.25),
        MaskConfig(rule="sign", tiles=(4, 1), drop=0.2, lock=0.1),
        MaskConfig(share="layer_mask"),
        MaskConfig(keep=0.3, options={"scope": "global"}),
        MaskConfig(rule="multicoat", drop=0.5),
        MaskConfig(rule="biprop", lock=0.2, rescale="row"),
    ],
    ids=str,
)
def test_closer_than_at_random_in_every_layout(config: MaskConfig) -> None:
    dense = Stacks()
    for parameter in dense.parameters():
        nn.init.normal_(parameter)
    model = mask_(Stacks(), config).eval()
    before = {name: module.weight.clone() for name, module in masked_modules(model)}
    found = project_(model, dense)
    assert set(found) == {name for name in before if config.share != "layer_mask" or ".0." in name}
    for name, projection in found.items():
        target, module = dense.get_submodule(name).weight, model.get_submodule(name)
        if config.share != "layer_mask":
            cosine = torch.cosine_similarity(module.weight.flatten(), target.flatten(), dim=0)
            assert projection.cosine == pytest.approx(float(cosine), abs=1e-5)
            assert float(cosine) >= float(torch.cosine_similarity(before[name].flatten(), target.flatten(), dim=0))
        assert -1 <= projection.cosine <= 1
        assert torch.isfinite(scores_of(module)).all()
    assert sum(projection.cosine for projection in found.values()) > 0.2 * len(found)


def test_tied_modules_and_images() -> None:
    dense = Tied()
    assert set(project_(mask_(Tied(), MaskConfig(rule="sign")), dense)) == {"embed", "fc"}
    assert set(project_(mask_(Images(), MaskConfig()), Images().state_dict())) == {"conv", "fc"}


def test_the_twin_is_left_as_it_is_and_only_scores_change() -> None:
    dense, model = Stacks(), mask_(Stacks(), MaskConfig(rule="sign"))
    states = [{name: tensor.clone() for name, tensor in each.state_dict().items()} for each in (dense, model)]
    digests = [masked_weight(layer.fc1).shared.digest() for layer in model.encoder["layers"]]
    project_(model, dense)
    assert all(torch.equal(tensor, states[0][name]) for name, tensor in dense.state_dict().items())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, states[1][name]) == ("original" not in name)
    assert digests == [masked_weight(layer.fc1).shared.digest() for layer in model.encoder["layers"]]


def test_signed_scores_are_as_large_as_the_dense_weights() -> None:
    random, dense = torch.tensor([4.0, 1.0, 2.0, -3.0]), torch.tensor([1.0, -2.0, 3.0, -4.0])
    scores = MaskConfig(rule="signed").new_rule().project(random * dense, random.square(), 3.0)
    size = 3 / math.sqrt(3) / math.sqrt(30 / 4)  # of a spread as standard scores have it
    assert scores.abs().sort().values.tolist() == pytest.approx([size, 2 * size, 3 * size, 4 * size])
    assert scores.signbit().tolist() == [False, True, False, False]


def test_what_gains_nothing_is_dropped() -> None:
    assert halves(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]), 2.0).tolist() == [1, -1]


def test_what_came_of_it_stays() -> None:
    with pytest.raises(FrozenInstanceError):
        Projection(1.0, 1.0, 1.0).inner = 2.0  # type: ignore[misc]


class TestRefused:
    def test_leaves_the_scores(self) -> None:
        model, dense = mask_(Stacks(), MaskConfig()), dict(Stacks().state_dict())
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for changed, message in (
            ({"decoder.layers.1.fc2.weight": None}, r"decoder\.layers\.1\.fc2\.weight: the dense model has no such"),
            (
                {"decoder.layers.1.fc2.weight": torch.zeros(4, 9)},
                r"has shape \[4, 9\] in the dense model, and \[4, 8\]",
            ),
            (
                {"decoder.layers.1.fc2.weight": torch.full((4, 8), math.nan)},
                r"fc2\.weight: the dense model has weights there that are not fi",
            ),
        ):
            weights = {name: tensor for name, tensor in {**dense, **changed}.items() if tensor is not None}
            with pytest.raises(ValueError, match=message):
                project_(model, weights)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def test_nothing_masked(self) -> None:
        with pytest.raises(ValueError, match="no masked weights"):
            project_(Stacks(), Stacks())

    def test_a_rule_that_does_not_say_how(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Odd(MaskRule):
            def mask(self, scores: torch.Tensor) -> torch.Tensor:
                return torch.ones_like(scores)

        monkeypatch.setitem(RULES, "odd", Odd)
        with pytest.raises(ValueError, match="the rule Odd cannot imitate dense weights"):
            project_(mask_(nn.Linear(3, 2), MaskConfig(rule="odd")), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("energy", "select"), [(1.0, torch.zeros_like), (0.0, torch.ones_like)], ids=["nothing kept", "weights of zero"]
)
def test_where_no_factor_fits(energy: float, select: Callable[[torch.Tensor], torch.Tensor]) -> None:
    inner = torch.tensor([1.0, -2.0, 0.0])
    assert gains(inner, torch.full((3,), energy), select).tolist() == [2, -4, 0]
