"""No silent wrong result: scores onto other weights, weights written into, networks that a ticket would not hold."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from one_layer_lt import (
    RULES,
    MaskConfig,
    SharedWeight,
    fold_,
    load_ticket,
    mask_,
    masked_weight,
    save_ticket,
    scores_of,
    set_update_,
)
from one_layer_lt.record import OtherWeights

from .conftest import Tied

OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 2}, "seed 1, and this model has 2"),
    "keep": ({"keep": 0.25}, "keep 0.5, and this model has 0.25"),
    "rule": ({"rule": "sign"}, "'edge_popup', and this model has 'sign'"),
    "init": ({"init": "kaiming_normal"}, "init 'kaiming_uniform', and this model has 'kaiming_normal'"),
    "scale": ({"scale": 2.0}, "scale 1.0, and this model has 2.0"),
    "share": ({"share": "none"}, "share 'layer', and this model has 'none'"),
    "rescale": ({"rescale": "row"}, "rescale 'none', and this model has 'row'"),
    "drop": ({"drop": 0.1}, "drop 0.0, and this model has 0.1"),
    "options": ({"options": {"ramp": 5}}, r"options \[\], and this model has \[\['ramp', 5.0\]\]|ramp"),
}


def net(**settings: Any) -> nn.Module:
    return mask_(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), MaskConfig(**settings))


class TestScoresOfOtherWeights:
    @pytest.mark.parametrize("what", OTHERS)
    def test_are_refused_by_name_and_values(self, what: str) -> None:
        settings, said = OTHERS[what]
        other = net(**settings)
        with pytest.raises(OtherWeights, match=said) as refused:
            other.load_state_dict(net().state_dict())
        assert refused.value.field in (what, "keep")

    def test_how_scores_began_does_not_matter(self) -> None:
        net(score_init="constant").load_state_dict(net().state_dict())

    def test_of_a_model_that_was_wrapped(self) -> None:
        inside = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        wrapped = mask_(nn.ModuleDict({"model": inside}), MaskConfig())
        with pytest.raises(OtherWeights, match=r"with tensor 'model\.0', and this model has '0'"):
            net().load_state_dict({name.replace("model.", ""): value for name, value in wrapped.state_dict().items()})

    def test_of_before_load_with_one_warning(self) -> None:
        state = {name: value for name, value in net().state_dict().items() if not name.endswith("trained_over")}
        with pytest.warns(UserWarning, match="do not say what they were trained over"):
            net().load_state_dict(state)

    def test_of_the_same_load_in_any_type_and_place(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            net().load_state_dict(net().half().state_dict())
            net().to(torch.bfloat16).load_state_dict(net().state_dict())

    def test_a_damaged_record_is_refused(self) -> None:
        for record in (torch.zeros(3, dtype=torch.uint8), torch.tensor([255, 7], dtype=torch.uint8)):
            state = {**net().state_dict(), "0.parametrizations.weight.0.trained_over": record}
            with pytest.raises(ValueError, match="damaged"):
                net().load_state_dict(state)

    def test_refused_ones_leave_all_scores(self) -> None:
        model, other = net(), net()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = {n: torch.full_like(v, 7.0) if v.is_floating_point() else v for n, v in other.state_dict().items()}
        state["2.parametrizations.weight.0.trained_over"] = net(seed=2).state_dict()[
            "2.parametrizations.weight.0.trained_over"
        ]
        with pytest.raises(OtherWeights):
            model.load_state_dict(state)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_a_huge_record_is_refused_unread(self) -> None:
        record = torch.zeros(1, dtype=torch.uint8).expand(1 << 40)
        with pytest.raises(ValueError, match="damaged"):
            net().load_state_dict({**net().state_dict(), "0.parametrizations.weight.0.trained_over": record})


class TestKeptWeights:
    def test_the_sign_of_a_zero_is_seen(self) -> None:
        model = net(rule="sign").eval()
        with torch.no_grad():
            scores_of(model[0]).zero_()
            before = model[0].weight.clone()
            scores_of(model[0]).data.neg_()
            assert torch.equal(model[0].weight, -before)

    def test_nothing_is_kept_of_inference_mode(self) -> None:
        model, data = net().eval(), torch.randn(2, 6)
        with torch.inference_mode():
            before = model(data)
            model[0].weight.zero_()
            assert torch.equal(model(data), before)

    def test_another_random_weight_is_seen(self) -> None:
        model = net().eval()
        with torch.no_grad():
            before = model[0].weight.clone()
            masked_weight(model[0]).shared.weight = -masked_weight(model[0]).shared.weight
            assert torch.equal(model[0].weight, -before)

    def test_scores_swapped_through_data_are_seen(self) -> None:
        model = net().eval()
        with torch.no_grad():
            before = model[0].weight.clone()
            scores_of(model[0]).data.copy_(torch.randn(5, 6))
            assert torch.equal(model[0].weight, masked_weight(model[0]).effective(scores_of(model[0]), training=False))
            assert not torch.equal(model[0].weight, before)

    def test_of_tensors_ranked_together_too(self) -> None:
        model = net(options={"scope": "global"}).eval()
        with torch.no_grad():
            before = model[0].weight.clone()
            scores_of(model[2]).data.fill_(9)
            assert int((model[2].weight != 0).sum()) == 15
            assert not torch.equal(model[0].weight, before)

    def test_writing_into_one_does_not_change_the_network(self, tmp_path: Path) -> None:
        model = net().eval()
        with torch.no_grad():
            before = model[0].weight.clone()
            model[0].weight.mul_(3)
            assert torch.equal(model[0].weight, before)

    @pytest.mark.parametrize("shape", [(5, 6), (40, 60)])
    def test_writing_into_one_through_data_does_not_either(self, shape: tuple[int, int]) -> None:
        model = mask_(nn.Sequential(nn.Linear(*shape)), MaskConfig(rule="sign", init="signed_constant")).eval()
        with torch.no_grad():
            before = model[0].weight.clone()
            model[0].weight.data.neg_()
            assert torch.equal(model[0].weight, before)
            model[0].weight.data[0] = model[0].weight.data[1]
            assert torch.equal(model[0].weight, before)

    def test_it_is_still_kept(self, computed: list[tuple[int, ...]]) -> None:
        model = net().eval()
        with torch.no_grad():
            for _ in range(3):
                model(torch.randn(2, 6))
        assert computed == [(5, 6), (3, 5)]


class TestRandomWeights:
    """Nothing else holds them: scores that were trained over others are lost for whoever draws them again."""

    @pytest.mark.parametrize("how", ["ticket", "checkpoint"])
    @pytest.mark.parametrize("settings", [{}, {"init": "signed_constant"}, {"rule": "iterand"}])
    def test_written_into_through_data_they_are_not_saved(
        self, how: str, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        model = net(share="none", **settings)
        set_update_(model, 600)  # after which iterand has drawn again twice
        model.state_dict()
        masked_weight(model[2]).shared.weight.data[1, 2] += 1e-3
        with pytest.raises(ValueError, match=r"^the random weight 2\[3x5\] is no longer what its seed gives"):
            save_ticket(tmp_path / "net.ticket", model) if how == "ticket" else nn.ModuleList([model]).state_dict()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_of_another_type_they_are(self, dtype: torch.dtype) -> None:
        assert net().to(dtype).state_dict()

    def test_not_drawn_they_are_saved_themselves(self) -> None:
        model = net(init="existing")
        masked_weight(model[0]).shared.weight.data.fill_(2)
        state = model.state_dict()
        assert bool((state["0.parametrizations.weight.0.shared.weight"] == 2).all())

    def test_each_is_drawn_once_for_a_checkpoint(self, stacks: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
        model, drawn = mask_(stacks, MaskConfig()), []
        draw = SharedWeight.drawn_anew
        monkeypatch.setattr(SharedWeight, "drawn_anew", lambda shared: drawn.append(shared.name) or draw(shared))
        model.state_dict()
        assert len(drawn) == len(set(drawn)) == 4

    def test_on_the_device_meta_there_is_nothing_to_compare(self) -> None:
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(6, 5))
        assert mask_(model, MaskConfig()).state_dict()

    def test_a_folded_model_is_saved_as_it_is(self) -> None:
        model = net()
        masked_weight(model[0]).shared.weight.data.zero_()
        assert not fold_(model).state_dict()["0.weight"].any()


class TestSchedules:
    RULES: ClassVar = {
        "iterand": {"rule": "iterand"},
        "gem_miner": {"rule": "gem_miner"},
        "annealed": {"rule": "annealed"},
        "continuous": {"rule": "continuous"},
        "ramp": {"options": {"ramp": 5}},
    }

    def trained(self, told: bool = False, evaluated: bool = False, **settings: Any) -> nn.Module:
        model = net(**settings)
        if told:
            set_update_(model, 0)
        (model.eval() if evaluated else model)(torch.randn(2, 6)).sum().backward()
        return model

    @pytest.mark.parametrize("how", ["fold", "save"])
    @pytest.mark.parametrize("name", RULES)
    def test_one_that_never_began_is_told_of_once(self, name: str, how: str, tmp_path: Path) -> None:
        model = self.trained(**self.RULES[name])
        with pytest.warns(UserWarning, match=r"has a schedule that never began: call set_update_\(model") as told:
            fold_(model) if how == "fold" else save_ticket(tmp_path / "net.ticket", model)
        assert len(told) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fold_(model)

    @pytest.mark.parametrize(
        "settings",
        [
            *({**rule, "told": True} for rule in RULES.values()),
            *({**rule, "evaluated": True} for rule in RULES.values()),
            {},
            {"rule": "annealed", "options": {"over": 0}},
        ],
    )
    def test_otherwise_nothing_is_said(self, settings: dict[str, Any], tmp_path: Path) -> None:
        model = self.trained(**settings)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save_ticket(tmp_path / "net.ticket", model)
            other = net(**{name: value for name, value in settings.items() if name not in ("told", "evaluated")})
            other.load_state_dict(model.state_dict())
            fold_(other)

    def test_a_look_before_training_is_none(self) -> None:
        model = self.trained(rule="annealed")
        set_update_(model, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fold_(model)

    def test_a_rule_that_is_told_of_updates_has_one(self) -> None:
        assert {name for name, rule in RULES.items() if rule().is_scheduled} == {
            *("annealed", "continuous", "gem_miner", "iterand")
        }


class TestMeta:
    def test_random_weights_are_drawn_where_memory_is_given(self) -> None:
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        mask_(model, MaskConfig())
        model.to_empty(device="cpu").load_state_dict(net().state_dict())
        data = torch.randn(4, 6)
        assert torch.equal(model(data), net()(data))

    def test_redrawn_ones_start_at_the_first_draw(self) -> None:
        with torch.device("meta"):
            model = mask_(nn.Linear(6, 5), MaskConfig(rule="iterand"))
        model.to_empty(device="cpu")
        shared = masked_weight(model).shared
        assert shared.draws == 0
        assert shared.digest() == masked_weight(mask_(nn.Linear(6, 5), MaskConfig(rule="iterand"))).shared.digest()


class TestWhatATicketWouldNotHold:
    @pytest.mark.parametrize("how", ["fold", "save"])
    def test_a_second_parametrization(self, how: str, tmp_path: Path) -> None:
        model = net()
        parametrizations.spectral_norm(model[2])
        with pytest.raises(ValueError, match=r"2\.weight is under a second parametrization"):
            fold_(model) if how == "fold" else save_ticket(tmp_path / "net.ticket", model)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("how", ["fold", "save"])
    def test_ties_that_came_undone(self, how: str, tmp_path: Path) -> None:
        model = mask_(Tied(), MaskConfig())
        model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
        with pytest.raises(ValueError, match=r"head\.weight and embed\.weight had one mask"):
            fold_(model) if how == "fold" else save_ticket(tmp_path / "net.ticket", model)

    def test_numbers_that_are_no_counters_are_kept(self, tmp_path: Path) -> None:
        class Grey(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm, self.fc = nn.BatchNorm2d(1), nn.Linear(4, 2)
                self.register_buffer("temperature", torch.tensor(1.0))

            def forward(self, x: Tensor) -> Tensor:
                return self.fc(self.norm(x).flatten(1)) / self.temperature

        model, data = mask_(Grey(), MaskConfig(), trainable=["norm.*"]), torch.randn(8, 1, 2, 2) * 5 + 3
        model(data)
        model.temperature.fill_(0.25)
        save_ticket(tmp_path / "net.ticket", model)
        filled = load_ticket(tmp_path / "net.ticket").fill_(Grey())
        with torch.no_grad():
            torch.testing.assert_close(filled(data), model.eval()(data))

    def test_transforms_of_functions_are_refused_in_a_line(self) -> None:
        model = net()
        with pytest.raises(RuntimeError, match=r"torch\.func does not see through masks"):
            torch.func.grad(lambda given: torch.func.functional_call(model, given, (torch.randn(2, 6),)).sum())(
                dict(model.named_parameters())
            )
        with torch.no_grad():
            data = torch.randn(3, 2, 6)
            torch.testing.assert_close(torch.func.vmap(model)(data), model(data))
