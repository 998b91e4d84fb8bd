"""The criterion ``distilled_cross_entropy``, against what it must be by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from fairseq_plugins import distillation
from fairseq_plugins.distillation import DistilledCrossEntropyCriterion
from fairseq_plugins.hidden import distance, layer_outputs
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import Ticket
from tests.support.translators import generate_with

from .running import ONCE, PLUGIN, batch, load_model, load_state, train, train_arguments

QUIET = [*ONCE, "--disable-validation"]
DISTILLED = ["--criterion", "distilled_cross_entropy", "--teacher"]
PAD = 1


class Task:
    """As much of a task as the criterion asks for."""

    class target_dictionary:
        @staticmethod
        def pad() -> int:
            return PAD


class Model(torch.nn.Module):
    """Says the same logits whatever it reads."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor([logits]))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits

    def get_normalized_probs(self, output: torch.Tensor, log_probs: bool) -> torch.Tensor:
        return output.log_softmax(-1) if log_probs else output.softmax(-1)

    def get_targets(self, sample: dict[str, torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return sample["target"]


def criterion(weight: float, teacher: Model) -> DistilledCrossEntropyCriterion:
    made = DistilledCrossEntropyCriterion(Task(), False, 0.0, 0, False, "teacher.pt", weight)
    made._teacher.append(teacher.eval())
    return made


def test_targets_are_a_mix_of_teacher_and_reference() -> None:
    # Logits of logarithms are probabilities. The last position is padding, where the teacher must not count.
    student = Model([[0.0, 0, 0, 0], [9, 9, 0, 0]])
    teacher = Model(torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]).log().tolist())
    sample = {"net_input": {"tokens": torch.zeros(1, 2)}, "target": torch.tensor([[3, PAD]])}
    loss, nll = criterion(0.75, teacher).compute_loss(student.train(), student(torch.zeros(1)), sample)
    torch.testing.assert_close(loss, torch.tensor(4.0).log())  # of a uniform student, whatever the targets
    torch.testing.assert_close(nll, torch.tensor(4.0).log())
    loss.backward()
    mix = 0.75 * torch.tensor([0.1, 0.2, 0.3, 0.4]) + 0.25 * torch.tensor([0.0, 0, 0, 1])
    torch.testing.assert_close(student.logits.grad, torch.stack([0.25 - mix, torch.zeros(4)])[None])
    assert teacher.logits.grad is None
    each, _ = criterion(0.75, teacher).compute_loss(student, student(torch.zeros(1)), sample, reduce=False)
    torch.testing.assert_close(each.sum(), loss)


def test_without_a_teacher_s_share_it_is_label_smoothed_cross_entropy() -> None:
    student = Model([[0.5, 0.1, -1, 2], [1, 2, 3, 4]])
    sample = {"net_input": {"tokens": torch.zeros(1, 2)}, "target": torch.tensor([[3, 0]])}
    made = criterion(0, Model([[5.0, 0, 0, 0]] * 2))
    made.eps = 0.1
    loss = made.compute_loss(student.train(), student(torch.zeros(1)), sample)
    usual = made.compute_loss(student.eval(), student(torch.zeros(1)), sample)
    torch.testing.assert_close(loss, usual)


def test_evaluation_is_against_the_reference_alone() -> None:
    student, teacher = Model([[0.0, 0, 0, 0]]), Model([[5.0, 0, 0, 0]])
    sample = {"net_input": {"tokens": torch.zeros(1, 1)}, "target": torch.tensor([[3]])}
    loss, nll = criterion(1, teacher).compute_loss(student.eval(), student(torch.zeros(1)), sample)
    assert loss == nll == torch.tensor(4.0).log()


def test_a_student_learns_from_a_teacher_and_does_not_keep_it(corpus: Path, tmp_path: Path) -> None:
    teacher = train(corpus, tmp_path / "teacher", *QUIET, "--dense", updates=10)
    student = train(corpus, tmp_path / "student", *QUIET, *DISTILLED, str(teacher), updates=3)
    plain = train(corpus, tmp_path / "plain", *QUIET, updates=3)
    kept, usual = load_state(student), load_state(plain)
    assert kept.keys() == usual.keys()
    assert kept["model"].keys() == usual["model"].keys()
    assert any(not torch.equal(kept["model"][name], usual["model"][name]) for name in kept["model"])
    teacher.unlink()
    load_model(student)  # without its teacher


def test_distance_by_hand() -> None:
    # Normed, (0, 2) is (-1, 1) and (6, 4) is (1, -1): squares of 4, or 0 where equal. The third position is padding.
    own = torch.tensor([[[0.0, 2.0]], [[6.0, 4.0]], [[1.0, 0.0]]])
    theirs = torch.tensor([[[10.0, 30.0]], [[4.0, 6.0]], [[0.0, 1.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(distance([own], [theirs], [mask]), torch.tensor(2.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(distance([own, own], [theirs, own], [mask, mask]), torch.tensor(1.0), rtol=1e-4, atol=0)


def test_layers_are_drawn_to_the_teacher_s_until_an_update(corpus: Path, tmp_path: Path) -> None:
    twin = train(corpus, tmp_path / "twin", *QUIET, "--dense", "--twin", updates=15)
    flags = [*QUIET, *DISTILLED, str(twin), "--scores-from", str(twin), "--mask-rule", "sign", "--lr", "2e-3"]
    teacher = load_model(twin)

    def apart(*others: str, updates: int) -> float:
        model = load_model(
            train(corpus, tmp_path / "-".join([*others, str(updates)]), *flags, *others, updates=updates)
        )
        with torch.no_grad(), layer_outputs(model) as own:
            model(**batch())
        with torch.no_grad(), layer_outputs(teacher) as theirs:
            teacher(**batch())
        assert [states.shape for states in own] == [(5, 2, 16)] * 2 + [(4, 2, 16)] * 2
        full = [torch.ones(2, states.shape[0], dtype=torch.bool) for states in own]
        return float(distance(own, theirs, full))

    assert apart("--hidden-weight", "30", updates=10) < 0.97 * apart(updates=10)
    never = apart("--hidden-weight", "30", "--hidden-updates", "1", updates=1)
    assert never == apart("--hidden-weight", "30", "--hidden-updates", "5", updates=1) != apart(updates=1)


def test_layers_of_another_number_are_refused(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    twin = train(corpus, tmp_path / "twin", "--dense", "--encoder-layers", "3", *QUIET, updates=1)
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", *DISTILLED, str(twin), "--hidden-weight", "1")
    assert "differ in number or width: leave it out" in capfd.readouterr().err


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_layers_that_are_dropped_are_refused(
    stack: str, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(corpus, tmp_path, *DISTILLED, "unread.pt", "--hidden-weight", "2", f"--{stack}-layerdrop", "0.2")
    said = f"--hidden-weight 2.0: needs all layers; leave out --{stack}-layerdrop 0.2"
    assert capfd.readouterr().err.splitlines()[-1].endswith(said)


@pytest.fixture
def with_a_teacher(data: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """Somebody's checkpoint that names a teacher, which must never be read where it is only evaluated."""
    state = load_state(checkpoint)
    state["cfg"]["criterion"].update(
        _name="distilled_cross_entropy", teacher=str(tmp_path / "teacher.pt"), teacher_weight=1.0, hidden_weight=0.0
    )
    state["cfg"]["criterion"]["hidden_updates"] = 0
    os.mkfifo(tmp_path / "teacher.pt")  # opening it would wait for ever
    torch.save(state, tmp_path / "named.pt")
    return tmp_path / "named.pt"


def test_a_teacher_that_a_checkpoint_names_is_not_read(
    with_a_teacher: Path, data: Path, monkeypatch: pytest.MonkeyPatch, generated: list[str], ticket: Ticket
) -> None:
    monkeypatch.setattr(distillation, "load_model_ensemble", None)
    assert len(from_checkpoint(with_a_teacher, data).masks) == len(ticket.masks)
    assert generate_with(data, with_a_teacher) == generated
    # It sets up logging anew, which a test's own process does not survive.
    command = [sys.executable, "-m", "fairseq_cli.validate", str(data), "--path", str(with_a_teacher)]
    command += ["--task", "translation", "--user-dir", str(PLUGIN), "--cpu", "--max-tokens", "400"]
    done = subprocess.run(command, cwd=PLUGIN.parent, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_loading_a_teacher_leaves_validation_and_chance_alone(corpus: Path, tmp_path: Path) -> None:
    teacher = train(corpus, tmp_path / "teacher", *QUIET, updates=1)
    flags = ["--eval-bleu", "--eval-bleu-args", "{}", *DISTILLED, str(teacher)]
    args = options.parse_args_and_arch(options.get_training_parser(), train_arguments(corpus, tmp_path, *flags))
    config = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(config.task)
    task.build_model(config.model)
    before, chance = task.sequence_generator, torch.get_rng_state()
    task.build_criterion(config.criterion).teacher({"target": torch.zeros(1)})
    assert task.sequence_generator is before
    assert torch.equal(torch.get_rng_state(), chance)


def test_bad_teachers_are_named(
    corpus: Path, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for flags, expected in (
        ([*DISTILLED, "none.pt", "--hidden-weight", "-1"], "--hidden-weight -1.0: choose 0 or a positive number"),
        (["--criterion", "distilled_cross_entropy"], "needs --teacher CHECKPOINT"),
        ([*DISTILLED, "none.pt"], "--teacher none.pt: no such checkpoint"),
        ([*DISTILLED, str(checkpoint)], "not a model with the dictionaries of this data: "),
        ([*DISTILLED, "none.pt", "--teacher-weight", "2"], "--teacher-weight 2.0: choose one in [0, 1]"),
    ):
        with pytest.raises(SystemExit):
            train(corpus, tmp_path / "run", *flags)
        assert expected in capfd.readouterr().err
