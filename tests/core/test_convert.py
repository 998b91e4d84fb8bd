from __future__ import annotations

import math
from typing import Any, Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from one_layer_lt import MaskConfig, SharedWeight, fold_, mask_, masked_modules, masked_weight, scores_of
from one_layer_lt.convert import Configure

NewModel = Callable[[str], "tuple[nn.Module, Tensor]"]
CONFIG = MaskConfig(seed=3)
KINDS = ["stacks", "tied", "images"]


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def digests(model: nn.Module) -> list[str]:
    return [module.digest() for module in model.modules() if isinstance(module, SharedWeight)]


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a refused conversion must leave as it was."""
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "parameters": {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)},
        "trainable": trainable(model),
        "types": [type(module) for module in model.modules()],
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    for key in ("parameters", "trainable", "types"):
        assert after[key] == before[key], key
    torch.testing.assert_close(after["state"], before["state"], rtol=0, atol=0)


def leaving_out(*names: str) -> Configure:
    return lambda name, _: None if name in names else CONFIG


def train(model: nn.Module, x: Tensor, steps: int, optimizer: type[torch.optim.Optimizer] = torch.optim.Adam) -> list:
    """The losses of a few steps towards a fixed target."""
    with torch.no_grad():
        target = torch.randn(model(x).shape, generator=torch.Generator().manual_seed(1))
    optimiser = optimizer([p for p in model.parameters() if p.requires_grad], lr=0.05)  # type: ignore[call-arg]
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (model.train()(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


class TestMask:
    def test_by_hand(self) -> None:
        """Scores 1, -4, 3, 2 under keep 0.5 keep the second and third of weights all 1 (fan 2)."""
        model = nn.Sequential(nn.Linear(2, 2))
        assert mask_(model, MaskConfig(init="unsigned_constant")) is model
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.tensor([[1.0, -4.0], [3.0, 2.0]]))
        assert model[0].weight.tolist() == [[0, 1], [1, 0]]
        assert model(torch.tensor([[5.0, 7.0]])).tolist() == [[7, 5]]

    def test_every_kind_of_weight_is_masked(self, new_model: NewModel) -> None:
        masked = {kind: {name for name, _ in masked_modules(mask_(new_model(kind)[0], CONFIG))} for kind in KINDS}
        assert masked["tied"] == {"embed", "fc", "head"}
        assert masked["images"] == {"conv", "fc"}
        assert len(masked["stacks"]) == 10

    def test_a_module_alone(self) -> None:
        linear = mask_(nn.Linear(4, 6), CONFIG)
        assert [name for name, _ in masked_modules(linear)] == [""]
        assert trainable(linear) == {"parametrizations.weight.original"}

    @pytest.mark.parametrize("kind", KINDS)
    def test_only_scores_are_trainable(self, new_model: NewModel, kind: str) -> None:
        model, x = new_model(kind)
        mask_(model, CONFIG)
        assert trainable(model)
        assert all(name.endswith(".parametrizations.weight.original") for name in trainable(model))
        model(x).sum().backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == name.endswith("original"), name

    def test_weights_are_drawn_by_name_seed_and_scale(self, images: nn.Module) -> None:
        mask_(images, MaskConfig(seed=5, init="kaiming_normal", scale=2.0, keep=0.25, scale_fan=True))
        expected = SharedWeight((4, 2, 3, 3), "kaiming_normal", seed=5, name="conv[4x2x3x3]", scale=4.0)
        assert masked_weight(images.conv).shared.digest() == expected.digest()

    def test_scale_fan_counts_kept_weights_only(self) -> None:
        """fan 8, keep 0.25: 2 are kept, and sqrt(2 / 2) is 1."""
        linear = mask_(nn.Linear(8, 4), MaskConfig(keep=0.25, init="unsigned_constant", scale_fan=True))
        assert linear.weight.unique().tolist() == [0.0, 1.0]
        assert linear.weight.sum() == 8

    def test_keep_is_exact_in_every_tensor(self, stacks: nn.Module) -> None:
        mask_(stacks.half(), MaskConfig(keep=0.3, score_init="constant"))
        for _, module in masked_modules(stacks):
            assert masked_weight(module).mask(scores_of(module)).sum() == 10  # round(0.3 * 32)

    def test_biases_are_zero_and_frozen_but_those_left_out_keep_their_values(self, stacks: nn.Module) -> None:
        left = stacks.get_submodule("encoder.layers.0.fc1")
        bias = left.get_parameter("bias").clone()
        mask_(stacks, configure=leaving_out("encoder.layers.0.fc1"))
        for _, module in masked_modules(stacks):
            assert not module.get_parameter("bias").any()
        assert torch.equal(left.get_parameter("bias"), bias)
        assert bias.any()
        assert not left.get_parameter("weight").requires_grad

    def test_device_and_dtype_follow_the_model(self) -> None:
        linear = mask_(nn.Linear(4, 6).bfloat16(), CONFIG)
        assert scores_of(linear).dtype == masked_weight(linear).shared.weight.dtype == torch.bfloat16
        assert linear(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16

    def test_converting_does_not_move_torchs_generator(self, stacks: nn.Module) -> None:
        state = torch.get_rng_state()
        mask_(stacks, CONFIG)
        assert torch.equal(torch.get_rng_state(), state)

    def test_two_models_from_one_config_are_equal(self, new_model: NewModel) -> None:
        (first, x), (second, _) = new_model("stacks"), new_model("stacks")
        assert torch.equal(mask_(first, CONFIG)(x), mask_(second, CONFIG)(x))
        other, _ = new_model("stacks")
        assert not torch.equal(mask_(other, MaskConfig(seed=4))(x), first(x))

    def test_a_subclass_of_linear_is_masked_with_its_own_forward(self) -> None:
        class Doubled(nn.Linear):
            def forward(self, input: Tensor) -> Tensor:
                return 2 * super().forward(input)

        module = mask_(Doubled(4, 4), CONFIG)
        x = torch.randn(2, 4)
        assert isinstance(module, Doubled)
        assert torch.equal(module(x), 2 * x @ module.weight.t())

    def test_the_padding_entry_of_an_embedding_gets_no_gradient(self) -> None:
        embed = mask_(nn.Embedding(5, 4, padding_idx=1), CONFIG)
        embed(torch.tensor([1, 2])).sum().backward()
        grad = scores_of(embed).grad
        assert grad is not None
        assert grad.any(dim=1).tolist() == [False, False, True, False, False]


class TestTraining:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("rule", ["edge_popup", "topk"])
    def test_scores_move_and_nothing_else_does(self, new_model: NewModel, kind: str, rule: str) -> None:
        model, x = new_model(kind)
        mask_(model, MaskConfig(rule=rule))
        before, state = digests(model), {name: value.clone() for name, value in model.state_dict().items()}
        losses = train(model, x, steps=20)
        assert digests(model) == before
        assert losses[-1] < losses[0]
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]) != name.endswith("original"), name

    def test_weight_decay_reaches_scores_only(self, stacks: nn.Module) -> None:
        mask_(stacks, CONFIG)
        before = digests(stacks)
        optimiser = torch.optim.SGD(stacks.parameters(), lr=0.1, weight_decay=0.5)
        scores = {name: scores_of(module).clone() for name, module in masked_modules(stacks)}
        (stacks(torch.ones(1, 4)).sum() * 0).backward()
        optimiser.step()
        assert digests(stacks) == before
        for name, module in masked_modules(stacks):
            torch.testing.assert_close(scores_of(module), 0.95 * scores[name])

    def test_training_is_repeatable_bit_for_bit(self, new_model: NewModel) -> None:
        runs = []
        for _ in range(2):
            model, x = new_model("stacks")
            runs.append(train(mask_(model, CONFIG), x, steps=5))
        assert runs[0] == runs[1]

    @pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
    def test_resuming_equals_no_interruption(self, new_model: NewModel, optimizer: type[torch.optim.Optimizer]) -> None:
        def steps(model: nn.Module, x: Tensor, optimiser: torch.optim.Optimizer, count: int) -> None:
            for _ in range(count):
                optimiser.zero_grad()
                model(x).square().mean().backward()
                optimiser.step()

        def start() -> tuple[nn.Module, Tensor, torch.optim.Optimizer]:
            model, x = new_model("stacks")
            mask_(model, CONFIG)
            return model, x, optimizer(model.parameters(), lr=0.05)  # type: ignore[call-arg]

        straight, x, optimiser = start()
        steps(straight, x, optimiser, 6)
        first, x, optimiser = start()
        steps(first, x, optimiser, 3)
        second, x, resumed = start()
        second.load_state_dict(first.state_dict())
        resumed.load_state_dict(optimiser.state_dict())
        steps(second, x, resumed, 3)
        torch.testing.assert_close(second.state_dict(), straight.state_dict(), rtol=0, atol=0)


class TestStateDict:
    def test_holds_scores_and_no_random_weights(self, tied: nn.Module) -> None:
        state = mask_(tied, CONFIG).state_dict()
        kept = [f"parametrizations.weight.{kept}" for kept in ("original", "0.trained_over")]
        assert set(state) == {f"{name}.{part}" for name in ("embed", "fc", "head") for part in kept} | {"fc.bias"}

    def test_holds_existing_weights(self, new_model: NewModel) -> None:
        model, x = new_model("images")
        dense = model.conv.weight.detach().clone()
        mask_(model, MaskConfig(init="existing", keep=1.0))
        state = model.state_dict()
        assert torch.equal(state["conv.parametrizations.weight.0.shared.weight"], dense)
        assert torch.equal(model.conv.weight, dense)
        other, _ = new_model("images")
        mask_(other, MaskConfig(init="existing", keep=1.0))
        assert not torch.equal(other(x), model(x))
        other.load_state_dict(state)
        assert torch.equal(other(x), model(x))

    def test_existing_weights_are_never_shared_but_ties_are_kept(self, new_model: NewModel) -> None:
        stacks, _ = new_model("stacks")
        mask_(stacks, MaskConfig(init="existing", share="layer"))
        assert len(digests(stacks)) == len(set(digests(stacks))) == 10
        tied, _ = new_model("tied")
        mask_(tied, MaskConfig(init="existing"))
        assert len(digests(tied)) == 2

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("training", [True, False])
    def test_restores_a_fresh_model_bit_for_bit(self, new_model: NewModel, kind: str, training: bool) -> None:
        model, x = new_model(kind)
        train(mask_(model, CONFIG), x, steps=3)
        other, _ = new_model(kind)
        mask_(other, CONFIG).train(training)
        with torch.no_grad():
            assert not torch.equal(other(x), model(x))  # and fills the cache, where there is one
            other.load_state_dict(model.state_dict())
            assert torch.equal(other(x), model(x))


class TestTies:
    def test_the_output_projection_is_masked_with_the_embedding(self, tied: nn.Module) -> None:
        """The trap: masking the embedding alone leaves the output projection dense and trained."""
        mask_(tied, CONFIG)
        assert scores_of(tied.embed) is scores_of(tied.head)
        assert masked_weight(tied.embed) is masked_weight(tied.head)
        assert torch.equal(tied.embed.weight, tied.head.weight)
        assert trainable(tied) == {
            "embed.parametrizations.weight.original",
            "fc.parametrizations.weight.original",
        }
        assert sum(p.numel() for p in tied.parameters() if p.requires_grad) == 7 * 4 + 4 * 4

    def test_gradient_is_the_sum_of_both_uses(self, tied: nn.Module) -> None:
        mask_(tied, CONFIG)
        tokens = torch.tensor([2, 4])
        embed, head = tied.embed.weight.detach().requires_grad_(), tied.head.weight.detach().requires_grad_()
        hidden = torch.relu(embed[tokens] @ tied.fc.weight.detach().t())
        (hidden @ head.t()).square().sum().backward()
        tied(tokens).square().sum().backward()
        assert embed.grad is not None
        assert head.grad is not None
        scores = scores_of(tied.embed)
        expected = (embed.grad + head.grad) * masked_weight(tied.embed).shared.weight * scores.detach().sign()
        torch.testing.assert_close(scores.grad, expected)

    @pytest.mark.parametrize(("left", "other"), [("head", "embed"), ("embed", "head")])
    def test_a_tie_to_a_module_left_out_is_refused(self, tied: nn.Module, left: str, other: str) -> None:
        before = snapshot(tied)
        with pytest.raises(ValueError, match=rf"^{left}\.weight is tied to {other}\.weight, and would stay dense"):
            mask_(tied, configure=leaving_out(left))
        assert_unchanged(tied, before)

    def test_a_tie_to_a_module_of_another_kind_is_refused(self, tied: nn.Module) -> None:
        tied.extra = nn.Module()
        tied.extra.table = tied.embed.weight
        before = snapshot(tied)
        with pytest.raises(ValueError, match=r"extra\.table is tied to embed\.weight"):
            mask_(tied, CONFIG)
        assert_unchanged(tied, before)

    def test_tied_modules_configured_differently_are_refused(self, tied: nn.Module) -> None:
        before = snapshot(tied)
        with pytest.raises(ValueError, match="head and embed are tied: configure both alike"):
            mask_(tied, configure=lambda name, _: MaskConfig(keep=0.25) if name == "head" else CONFIG)
        assert_unchanged(tied, before)

    def test_a_tied_pair_may_stay_dense(self, tied: nn.Module) -> None:
        mask_(tied, configure=leaving_out("embed", "head"), trainable=["embed.weight"])
        assert tied.embed.weight is tied.head.weight
        assert trainable(tied) == {"embed.weight", "fc.parametrizations.weight.original"}

    def test_one_module_under_two_names_is_masked_once(self) -> None:
        linear = nn.Linear(4, 4)
        model = mask_(nn.ModuleDict({"a": linear, "b": linear}), CONFIG)
        assert len(list(masked_modules(model))) == 1
        assert len(trainable(model)) == 1


class TestTrainable:
    def test_patterns_match_whole_names(self, stacks: nn.Module) -> None:
        mask_(stacks, CONFIG, trainable=["encoder.*.norm.*", "decoder.layers.1.fc2.bias"])
        asked = {name for name in trainable(stacks) if not name.endswith("original")}
        assert asked == {f"encoder.layers.{i}.norm.{end}" for i in range(3) for end in ("weight", "bias")} | {
            "decoder.layers.1.fc2.bias"
        }
        assert len(trainable(stacks)) == 10 + len(asked)

    @pytest.mark.parametrize("pattern", ["norm", "encoder.layers.9.norm.weight", "Encoder.*", ""])
    def test_a_pattern_that_matches_nothing_is_refused(self, stacks: nn.Module, pattern: str) -> None:
        before = snapshot(stacks)
        with pytest.raises(ValueError, match=r"trainable: .* is the name of no parameter that stays dense") as error:
            mask_(stacks, CONFIG, trainable=["*.norm.*", pattern])
        assert repr(pattern) in str(error.value)
        assert_unchanged(stacks, before)

    def test_a_weight_that_is_masked_cannot_be_trained_too(self, stacks: nn.Module) -> None:
        before = snapshot(stacks)
        with pytest.raises(ValueError, match=r"'\*\.fc1\.weight' is the name of no parameter that stays dense"):
            mask_(stacks, CONFIG, trainable=["*.fc1.weight"])
        assert_unchanged(stacks, before)

    def test_either_name_of_a_tied_weight_will_do(self, tied: nn.Module) -> None:
        mask_(tied, configure=leaving_out("embed", "head"), trainable=["head.weight"])
        assert tied.embed.weight.requires_grad


class TestRefusals:
    def test_a_second_mask(self, stacks: nn.Module) -> None:
        mask_(stacks, CONFIG)
        before = snapshot(stacks)
        with pytest.raises(ValueError, match=r"encoder\.layers\.0\.fc1\.weight is parametrized already"):
            mask_(stacks, CONFIG)
        assert_unchanged(stacks, before)

    def test_a_weight_under_another_parametrization(self, stacks: nn.Module) -> None:
        name = "decoder.layers.1.fc2"
        nn.utils.parametrizations.weight_norm(stacks.get_submodule(name))
        before = snapshot(stacks)
        with pytest.raises(ValueError, match="parametrized already"):
            mask_(stacks, CONFIG)
        assert_unchanged(stacks, before)
        mask_(stacks, configure=leaving_out(name))
        assert len(list(masked_modules(stacks))) == 9

    @pytest.mark.parametrize("model", [nn.LayerNorm(4), nn.PReLU(3), nn.Sequential()])
    def test_nothing_to_mask(self, model: nn.Module) -> None:
        before = snapshot(model)
        with pytest.raises(ValueError, match="nothing to mask"):
            mask_(model, CONFIG)
        assert_unchanged(model, before)

    def test_nothing_selected(self, stacks: nn.Module) -> None:
        before = snapshot(stacks)
        with pytest.raises(ValueError, match="nothing to mask"):
            mask_(stacks, configure=lambda *_: None)
        assert_unchanged(stacks, before)


class TestFold:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("warm", [True, False])
    def test_computes_the_same_bits(
        self, new_model: NewModel, kind: str, dtype: torch.dtype, training: bool, warm: bool
    ) -> None:
        model, x = new_model(kind)
        train(mask_(model, CONFIG), x, steps=2)
        model.to(dtype).train(training)
        x = x.to(dtype) if x.is_floating_point() else x
        with torch.inference_mode() if warm else torch.enable_grad():
            expected = model(x).detach().clone()
        assert fold_(model) is model
        assert torch.equal(model(x), expected)
        assert list(masked_modules(model)) == []
        assert not any(parametrize.is_parametrized(module) for module in model.modules())
        assert not any(isinstance(module, SharedWeight) for module in model.modules())

    def test_gradient_flows_through_after_inference_mode(self, new_model: NewModel) -> None:
        """The weights kept in inference mode are no good for autograd: folding must not hand them on."""
        model, x = new_model("images")
        mask_(model, CONFIG).eval()
        with torch.inference_mode():
            model(x)
        fold_(model)(x.requires_grad_()).sum().backward()
        assert x.grad is not None
        assert x.grad.any()

    def test_leaves_plain_frozen_parameters(self, new_model: NewModel) -> None:
        plain = {name: value.shape for name, value in new_model("images")[0].state_dict().items()}
        model = fold_(mask_(new_model("images")[0], CONFIG))
        assert {name: value.shape for name, value in model.state_dict().items()} == plain
        assert type(model.conv) is nn.Conv2d
        assert type(model.conv.weight) is nn.Parameter
        assert trainable(model) == set()
        assert model.conv.weight.eq(0).sum() == 36  # half of 4 * 2 * 3 * 3

    def test_keeps_ties(self, tied: nn.Module) -> None:
        fold_(mask_(tied, CONFIG))
        assert tied.embed.weight is tied.head.weight
        assert type(tied.embed) is nn.Embedding

    def test_frees_layers_from_one_another(self, stacks: nn.Module) -> None:
        fold_(mask_(stacks, CONFIG))
        weights = [stacks.get_submodule(f"encoder.layers.{i}.fc1").get_parameter("weight") for i in range(3)]
        assert len({weight.data_ptr() for weight in weights}) == 3

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_unmasked_model_is_left_alone(self, new_model: NewModel, kind: str) -> None:
        model, _ = new_model(kind)
        before = snapshot(model)
        assert fold_(model) is model
        assert_unchanged(model, before)
        folded = fold_(mask_(model, CONFIG))
        again = snapshot(folded)
        assert_unchanged(fold_(folded), again)

    def test_other_parametrizations_stay(self, stacks: nn.Module) -> None:
        name = "decoder.layers.1.fc2"
        normed = nn.utils.parametrizations.weight_norm(stacks.get_submodule(name))
        fold_(mask_(stacks, configure=leaving_out(name)))
        assert parametrize.is_parametrized(normed, "weight")

    def test_a_folded_model_can_be_masked_again(self, tied: nn.Module) -> None:
        mask_(fold_(mask_(tied, CONFIG)), CONFIG)
        assert scores_of(tied.embed) is scores_of(tied.head)

    def test_effective_weight_is_scaled_as_asked(self) -> None:
        linear = fold_(mask_(nn.Linear(8, 4), MaskConfig(init="signed_constant", scale=3.0)))
        assert set(linear.weight.abs().flatten().tolist()) == {0.0, 3.0 * math.sqrt(2 / 8)}
