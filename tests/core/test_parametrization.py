from __future__ import annotations

import copy
import io
import math
import pickle
import weakref
from typing import Callable

import pytest
import torch
from torch import Tensor, nn

from one_layer_lt import MaskConfig, cached_weights, mask_, masked_weight, scores_of
from one_layer_lt.parametrization import initial_scores
from one_layer_lt.weights import draw

Computed = list  # of the shapes of the effective weights computed so far
CONFIG = MaskConfig(seed=3)


@pytest.fixture
def linear() -> nn.Module:
    """A masked Linear, ready for evaluation."""
    return mask_(nn.Linear(4, 6), CONFIG).eval()


def fresh(module: nn.Module) -> Tensor:
    """The effective weight, computed anew and by other means."""
    scores = scores_of(module).detach()
    ranked = scores.abs().flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(scores.numel(), dtype=scores.dtype)
    mask[ranked[: round(CONFIG.keep * scores.numel())]] = 1
    return mask.view(scores.shape) * masked_weight(module).shared.weight


def invert_ranks(scores: Tensor) -> None:
    scores.copy_(1 / scores)


class TestEvaluation:
    """Out of training mode and without gradient, the effective weight is computed once and follows every change."""

    def test_computed_once(self, linear: nn.Module, computed: Computed) -> None:
        x = torch.randn(2, 4)
        with torch.no_grad():
            first = linear(x)
            assert torch.equal(linear(x), first)
        with torch.inference_mode():
            assert torch.equal(linear(x), first)
        assert computed == [(6, 4)]

    def test_load_state_dict(self, linear: nn.Module) -> None:
        state = {name: 1 / value for name, value in linear.state_dict().items() if name.endswith("original")}
        with torch.no_grad():
            before = linear.weight.clone()
            linear.load_state_dict({**linear.state_dict(), **state})
            assert not torch.equal(linear.weight, before)
            assert torch.equal(linear.weight, fresh(linear))

    def test_load_state_dict_by_assignment(self, linear: nn.Module) -> None:
        with torch.no_grad():
            before = linear.weight.clone()
            state = linear.state_dict()
            scores = {name: 1 / value for name, value in state.items() if value.is_floating_point()}
            linear.load_state_dict({**state, **scores}, assign=True)
            assert not torch.equal(linear.weight, before)
            assert torch.equal(linear.weight, fresh(linear))

    def test_change_in_place(self, linear: nn.Module) -> None:
        with torch.no_grad():
            before = linear.weight.clone()
            invert_ranks(scores_of(linear))
            assert not torch.equal(linear.weight, before)
            assert torch.equal(linear.weight, fresh(linear))

    def test_step_through_data_between_evaluations(self, linear: nn.Module) -> None:
        """As some optimisers do: it leaves the scores' version as it was."""
        with torch.no_grad():
            before = linear.weight.clone()
        linear.train()
        invert_ranks(scores_of(linear).data)
        linear.eval()
        with torch.no_grad():
            assert not torch.equal(linear.weight, before)
            assert torch.equal(linear.weight, fresh(linear))

    def test_change_of_dtype(self, linear: nn.Module) -> None:
        with torch.no_grad():
            assert linear.weight.dtype == torch.float32
            assert linear.half().weight.dtype == torch.float16
            assert torch.equal(linear.weight, fresh(linear))

    def test_dtype_there_and_back(self, linear: nn.Module) -> None:
        """The new scores may lie where the old ones did, at the same version: only forgetting at once is sure."""
        with torch.no_grad():
            kept = weakref.ref(linear.weight)
            assert kept() is linear.weight
            linear.to(torch.bfloat16)
            assert kept() is None
            assert torch.equal(linear.float().weight, fresh(linear))

    def test_other_storage_behind_the_same_parameter(self, linear: nn.Module) -> None:
        with torch.no_grad():
            before = linear.weight.clone()
            scores_of(linear).data = 1 / scores_of(linear)
            assert not torch.equal(linear.weight, before)
            assert torch.equal(linear.weight, fresh(linear))

    def test_gradient_is_never_served_from_the_kept_weight(self, linear: nn.Module) -> None:
        x = torch.randn(2, 4)
        with torch.no_grad():
            kept = linear(x)
        out = linear(x)
        assert torch.equal(out, kept)
        out.sum().backward()
        grad = scores_of(linear).grad
        assert grad is not None
        assert grad.ne(0).all()

    def test_with_gradient_nothing_is_kept(self, linear: nn.Module, computed: Computed) -> None:
        for _ in range(2):
            linear(torch.randn(2, 4)).sum().backward()
        assert len(computed) == 2


class TestTraining:
    def test_every_forward_sees_the_scores_of_now(self, linear: nn.Module) -> None:
        linear.train()
        for with_grad in (True, False):
            with torch.set_grad_enabled(with_grad):
                before = linear.weight.detach().clone()
                invert_ranks(scores_of(linear).data)
                assert not torch.equal(linear.weight, before)
                assert torch.equal(linear.weight, fresh(linear))


def test_what_python_shows() -> None:
    shown = [repr(masked_weight(mask_(nn.Linear(4, 4), MaskConfig(rule=rule)))) for rule in ("topk", "sign")]
    assert [text.splitlines()[1].strip() for text in shown] == ["rule='topk', keep=0.5", "rule='sign'"]


class TestCachedWeights:
    @pytest.fixture
    def model(self, tied: nn.Module) -> nn.Module:
        return mask_(tied, CONFIG).train()

    def test_each_weight_is_computed_once_tied_ones_too(self, model: nn.Module, computed: Computed) -> None:
        tokens = torch.tensor([1, 2])
        model(tokens)
        assert sorted(computed) == [(4, 4), (7, 4), (7, 4)]
        computed.clear()
        with cached_weights():
            model(tokens)
            model(tokens)
        assert sorted(computed) == [(4, 4), (7, 4)]

    def test_gradient_is_the_same(self, model: nn.Module) -> None:
        tokens, grads = torch.tensor([1, 2, 2]), []
        for cached in (False, True):
            model.zero_grad()
            if cached:
                with cached_weights():
                    out = model(tokens)
                out.square().sum().backward()
            else:
                model(tokens).square().sum().backward()
            grads.append([scores_of(m).grad for m in (model.embed, model.fc)])
        for plain, cached_grad in zip(*grads):
            torch.testing.assert_close(cached_grad, plain)
            assert plain.abs().sum() > 0

    def test_forgotten_at_the_end(self, model: nn.Module) -> None:
        with cached_weights():
            before = model.fc.weight
            assert model.fc.weight is before
        invert_ranks(scores_of(model.fc).data)
        assert not torch.equal(model.fc.weight, before)
        with cached_weights():
            assert torch.equal(model.fc.weight, fresh(model.fc))

    def test_nested_lasts_until_the_outermost_ends(self, model: nn.Module, computed: Computed) -> None:
        with cached_weights():
            first = model.fc.weight
            with cached_weights():
                assert model.fc.weight is first
            assert model.fc.weight is first
        assert len(computed) == 1
        assert model.fc.weight is not first

    @pytest.mark.parametrize("depth", [1, 2])
    def test_forgotten_when_the_body_raises(self, model: nn.Module, depth: int) -> None:
        def run(levels: int) -> Tensor:
            with cached_weights():
                if levels > 1:
                    return run(levels - 1)
                kept.append(model.fc.weight)
                raise RuntimeError("body")

        kept: list[Tensor] = []
        with pytest.raises(RuntimeError, match="body"):
            run(depth)
        assert model.fc.weight is not model.fc.weight, "still caching"
        assert model.fc.weight is not kept[0]

    def test_with_and_without_gradient_are_kept_apart(self, model: nn.Module) -> None:
        with cached_weights():
            assert model.fc.weight.requires_grad
            with torch.no_grad():
                assert not model.fc.weight.requires_grad
            assert model.fc.weight.requires_grad

    def test_evaluation_keeps_beyond_the_end(self, model: nn.Module, computed: Computed) -> None:
        model.eval()
        with torch.no_grad():
            for _ in range(2):
                with cached_weights():
                    model(torch.tensor([1]))
        assert sorted(computed) == [(4, 4), (7, 4)]


class TestInitialScores:
    """Of shape (out, fan_in) = (50, 400): the bound is 1 / sqrt(400) = 0.05."""

    SHAPE = (50, 400)

    def test_standard(self) -> None:
        scores = initial_scores(self.SHAPE, MaskConfig(), "fc")
        assert scores.dtype == torch.float32
        assert 0.0499 < scores.abs().max() <= 0.05
        assert scores.mean().abs() < 4 * 0.05 / math.sqrt(3 * 20_000)
        assert scores.std().item() == pytest.approx(0.05 / math.sqrt(3), rel=0.02)

    def test_constant(self) -> None:
        assert initial_scores(self.SHAPE, MaskConfig(score_init="constant"), "fc").unique().tolist() == [
            torch.tensor(0.05).item()
        ]

    def test_constant_noisy(self) -> None:
        scores = initial_scores(self.SHAPE, MaskConfig(score_init="constant_noisy"), "fc")
        assert 0.0495 - 1e-8 <= scores.min() < 0.04951
        assert 0.05049 < scores.max() <= 0.0505 + 1e-8

    def test_convolutions_count_the_kernel_as_fan(self) -> None:
        assert initial_scores((8, 4, 5, 5), MaskConfig(score_init="constant"), "conv").max().item() == pytest.approx(
            0.1
        )

    @pytest.mark.parametrize(
        ("score_init", "first"),
        [
            ("standard", ["-0x1.080724p-2", "0x1.6a6a56p-2", "0x1.cd7a1ap-2"]),
            ("constant", ["0x1.279a74p-1"] * 3),
            ("constant_noisy", ["0x1.26488p-1", "0x1.296a58p-1", "0x1.29e924p-1"]),
        ],
    )
    def test_never_change(self, score_init: str, first: list[str]) -> None:
        scores = initial_scores((2, 3), MaskConfig(score_init=score_init), "golden")
        assert scores.flatten()[:3].tolist() == [float.fromhex(value) for value in first]

    def test_differ_by_module_and_seed_and_from_the_random_weight(self) -> None:
        draws = [
            initial_scores(self.SHAPE, MaskConfig(seed=1), "fc1"),
            initial_scores(self.SHAPE, MaskConfig(seed=1), "fc2"),
            initial_scores(self.SHAPE, MaskConfig(seed=2), "fc1"),
            draw(self.SHAPE, "kaiming_uniform", seed=1, name="fc1"),
        ]
        correlations = torch.corrcoef(torch.stack([d.flatten().double() for d in draws])) - torch.eye(4)
        assert correlations.abs().max() < 4.5 / math.sqrt(20_000)
        assert torch.equal(initial_scores(self.SHAPE, MaskConfig(seed=1), "fc1"), draws[0])

    def test_layers_that_share_a_weight_start_from_scores_of_their_own(self, stacks: nn.Module) -> None:
        mask_(stacks, CONFIG)
        first, second = (stacks.get_submodule(f"encoder.layers.{i}.fc1") for i in range(2))
        assert masked_weight(first).shared is masked_weight(second).shared
        assert not torch.equal(scores_of(first), scores_of(second))


def through_pickle(module: nn.Module) -> nn.Module:
    result: nn.Module = pickle.loads(pickle.dumps(module))
    return result


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle], ids=["deepcopy", "pickle"])
def test_masked_weight_can_be_copied_while_it_keeps_a_weight(
    linear: nn.Module, copied: Callable[[nn.Module], nn.Module]
) -> None:
    """A kept effective weight with a graph cannot be copied: it stays behind."""
    with cached_weights():
        assert linear.weight.requires_grad
        twin = copied(masked_weight(linear))
    assert torch.equal(twin(scores_of(linear)), linear.weight)


def test_what_is_kept_is_in_no_pickle(linear: nn.Module) -> None:
    masked = masked_weight(linear.eval())
    size = len(pickle.dumps(masked))
    with torch.no_grad():
        assert linear.weight is linear.weight
    assert len(pickle.dumps(masked)) < size + 40


@pytest.mark.parametrize("with_grad", [True, False])
def test_deepcopy_of_a_model_in_use(tied: nn.Module, with_grad: bool) -> None:
    model, tokens = mask_(tied, CONFIG).eval(), torch.tensor([1, 5])
    with torch.set_grad_enabled(with_grad), cached_weights():
        out = model(tokens)
        twin = copy.deepcopy(model)
    assert scores_of(twin.embed) is scores_of(twin.head)
    assert scores_of(twin.embed) is not scores_of(model.embed)
    with torch.no_grad():
        assert torch.equal(twin(tokens), out)
        invert_ranks(scores_of(twin.fc))
        assert not torch.equal(twin(tokens), out)
        assert torch.equal(model(tokens), out), "the copy's scores are the original's"


def test_a_whole_masked_module_is_saved_by_its_state_dict(linear: nn.Module) -> None:
    """torch refuses to pickle any parametrized module, and says so."""
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        torch.save(linear, io.BytesIO())


def test_masked_weight_gives_its_mask(linear: nn.Module) -> None:
    masked = masked_weight(linear)
    mask = masked.mask(scores_of(linear))
    assert mask.sum() == 12
    assert torch.equal(mask * masked.shared.weight, linear.weight)
    assert not mask.requires_grad
