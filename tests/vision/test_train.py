"""Training networks for images: it learns, resumes exactly, agrees with itself over processes, and ends in a ticket."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import Field, asdict, fields, replace
from pathlib import Path
from typing import Any, Callable

import pytest
import torch

from one_layer_lt import load_ticket, masked_modules, masked_weight, precision, scores_of
from one_layer_lt.cli import main, subcommand
from one_layer_lt.errors import UserError
from one_layer_lt.vision.data import DataSet, Images
from one_layer_lt.vision.recipes import RECIPES, Recipe, recipe_of
from one_layer_lt.vision.ticket import ticket_of
from one_layer_lt.vision.train import CHECKPOINT, METRICS, Trainer, World, load_run, new_model, train

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def squares(n: int, seed: int) -> Images:
    """Noise with a bright square in one of four corners, which is the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (n, 1, 8, 8), generator=generator)
    labels = torch.randint(0, 4, (n,), generator=generator)
    for image, label in zip(images, labels.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[0, top : top + 4, left : left + 4] += 100
    return Images(images.to(torch.uint8), labels)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet("squares", ("a", "b", "c", "d"), squares(256, 1), squares(100, 2), (0.29,), (0.2,))


TINY = Recipe(model="lenet_300_100", width=0.1, epochs=3, batch=32, lr=0.1, momentum=0.9)
CONV = replace(TINY, model="resnet18", width=0.0625, affine=True, epochs=2, padding=1, flip=False)
KINDS = {
    "masks": TINY,
    "dense": replace(TINY, dense=True),
    "convolutions": CONV,
    "binary, global": replace(CONV, binary=True, rule="biprop", options="scope=global,ramp=9", keep=0.4),
    "sampled": replace(TINY, rule="bernoulli", rescale="tensor", optimizer="adam", lr=0.05),
    "drawn again": replace(TINY, rule="iterand", options="period=3,fraction=0.5", keep=0.2),
    "bfloat16 in parts": replace(
        CONV, model="conv2", bf16=True, channels_last=True, accumulate=2, smoothing=0.1, warmup=1, flip=True
    ),
}


def weights(trainer: Trainer) -> dict[str, bytes]:
    return {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in trainer.model.state_dict().items()}


def test_it_learns_by_masks_alone(data: DataSet, tmp_path: Path) -> None:
    last = train(replace(TINY, epochs=6), data, tmp_path)
    assert last["accuracy"] > 0.9
    trainer = load_run(tmp_path, data)
    assert trainer.accuracy(data.test) == last["accuracy"]
    start = new_model(trainer.recipe, data)
    for (_, module), (_, fresh) in zip(masked_modules(trainer.model), masked_modules(start)):
        assert masked_weight(module).shared.digest() == masked_weight(fresh).shared.digest()
        assert not torch.equal(scores_of(module), scores_of(fresh))
    events = [name for name in os.listdir(tmp_path) if "tfevents" in name]
    assert events
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [1, 2, 3, 4, 5, 6]


def test_masks_that_start_from_a_dense_run(data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dense = replace(TINY, dense=True)
    train(dense, data, tmp_path / "dense")
    recipe = replace(TINY, rule="sign", epochs=1, lr=0.01, scores_from=str(tmp_path / "dense"))
    target = load_run(tmp_path / "dense", data).model
    for name, module in masked_modules(new_model(recipe, data)):
        assert torch.equal(module.weight.sign(), torch.where(target.get_submodule(name).weight < 0, -1.0, 1.0))
    last = train(recipe, data, tmp_path / "signs")
    assert last["accuracy"] > train(replace(recipe, scores_from=None), data, tmp_path / "alone")["accuracy"]
    for wrong, message in (
        (replace(recipe, scores_from=str(tmp_path / "signs")), "not a dense run"),
        (replace(recipe, width=0.2), "not a run of this network"),
    ):
        with pytest.raises(ValueError, match=message):
            new_model(wrong, data)
    with pytest.raises(ValueError, match="goes with masks"):
        replace(dense, scores_from="x")
    (tmp_path / "dense" / CHECKPOINT).unlink()
    assert load_run(tmp_path / "signs", data).accuracy(data.test) == last["accuracy"]


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_equals_uninterrupted(
    kind: str, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16\n")
    recipe = KINDS[kind]
    whole = train(recipe, data, tmp_path / "whole")

    class Killed(Exception):
        pass

    def progress(trainer: Trainer) -> Any:
        def done(step: int, loss: float) -> None:
            if trainer.epoch == recipe.epochs - 1 and step == 3:
                raise Killed

        return done

    with pytest.raises(Killed):
        train(recipe, data, tmp_path / "parts", progress=progress)
    parts = train(recipe, data, tmp_path / "parts")
    assert {**parts, "seconds": 0} == {**whole, "seconds": 0}
    assert weights(load_run(tmp_path / "parts", data)) == weights(load_run(tmp_path / "whole", data))
    assert train(recipe, data, tmp_path / "parts") == parts  # nothing is left to do


def test_bfloat16_is_left_where_it_is_emulated(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    losses = []
    for name, flags in (("with", "avx512_bf16"), ("without", "avx2")):
        (tmp_path / name).write_text(f"flags : {flags}\n")
        monkeypatch.setattr(precision, "CPUINFO", tmp_path / name)
        trainer = Trainer(replace(TINY, bf16=True), data, World(), CPU)
        losses.append(trainer.train_epoch(lambda step, loss: None))
    said = [message for message in caplog.messages if "bfloat16" in message]
    assert said == ["--bf16: this processor shows no bfloat16 instructions; running in float32"]
    exact = Trainer(TINY, data, World(), CPU).train_epoch(lambda step, loss: None)
    assert losses[0] != exact == losses[1]


def test_a_batch_in_parts_is_the_batch(data: DataSet) -> None:
    found = []
    for parts in (1, 4):
        trainer = Trainer(replace(TINY, accumulate=parts), data, World(), CPU)
        loss = trainer.train_epoch(lambda step, loss: None)
        found.append((loss, [parameter.detach().clone() for parameter in trainer.trained]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for first, second in zip(found[0][1], found[1][1]):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)


def test_rate_by_hand(data: DataSet) -> None:
    trainer = Trainer(replace(TINY, epochs=5, warmup=1, lr=0.4), data, World(), CPU)
    assert trainer.steps == 8
    assert [trainer.rate(update) for update in (0, 3, 7)] == pytest.approx([0.05, 0.2, 0.4])
    assert [trainer.rate(update) for update in (8, 24, 40)] == pytest.approx([0.4, 0.2, 0.0])


def test_the_ticket_predicts_the_same(data: DataSet, tmp_path: Path) -> None:
    for kind in ("masks", "binary, global", "sampled"):
        recipe = KINDS[kind]
        last = train(recipe, data, tmp_path / kind)
        trainer = load_run(tmp_path / kind, data)
        ticket_of(trainer.model, recipe, data).save(tmp_path / "net.ticket")
        images = trainer.normal(data.test.images)  # type: ignore[union-attr]
        expected = trainer.model.eval()(images)
        model = load_ticket(tmp_path / "net.ticket").model()
        with torch.no_grad():
            assert torch.equal(model(images), expected)
        trainer.model = model
        assert trainer.accuracy(data.test) == last["accuracy"]


def test_another_recipe_in_the_same_folder(data: DataSet, tmp_path: Path) -> None:
    train(replace(TINY, epochs=1), data, tmp_path)
    with pytest.raises(ValueError, match=r"holds a training with lr 0.1, not 0.2: name another folder by --out"):
        train(replace(TINY, epochs=1, lr=0.2), data, tmp_path)


OTHER_CLASSES = ("a", "b", "x", "d")


def test_a_run_goes_on_with_its_own_images_alone(data: DataSet, tmp_path: Path) -> None:
    train(replace(TINY, epochs=1), data, tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    more = replace(data, train=squares(255, 1))
    for other, says in (
        (replace(data, classes=OTHER_CLASSES), r"with classes 'c', 'd' \(of 4\), not 'x', 'd' \(of 4\): name its data"),
        (more, "with training images 256, not 255"),
        (replace(data, mean=(0.3,)), r"with mean \[0.29\], not \[0.3\]"),
    ):
        with pytest.raises(ValueError, match=says):
            train(replace(TINY, epochs=1), other, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_run_is_evaluated_on_its_classes_and_normed_as_it_was(data: DataSet, tmp_path: Path) -> None:
    last = train(replace(TINY, epochs=2), data, tmp_path)
    with pytest.raises(ValueError, match="classes 'c', 'd'"):
        load_run(tmp_path, replace(data, classes=OTHER_CLASSES))
    trainer = load_run(tmp_path, replace(data, mean=(0.9,), std=(0.01,)))
    assert trainer.accuracy(data.test) == last["accuracy"]
    assert ticket_of(trainer.model, trainer.recipe, trainer.data).architecture["mean"] == [0.29]


def test_a_run_of_before_says_that_it_cannot_tell(
    data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = train(replace(TINY, epochs=1), data, tmp_path)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state["classes"] = state.pop("images")["classes"]
    torch.save(state, tmp_path / CHECKPOINT)
    assert load_run(tmp_path, data).accuracy(data.test) == last["accuracy"]
    assert len([line for line in caplog.messages if "does not say what images" in line]) == 1
    with pytest.raises(ValueError, match="classes 'c', 'd'"):
        train(replace(TINY, epochs=1), replace(data, classes=OTHER_CLASSES), tmp_path)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (replace(TINY, dense=True, lr=1e3, epochs=30), "1.weight is"),
        (replace(TINY, optimizer="adam", lr=1e38), "original is"),
    ],
)
def test_a_training_that_leaves_the_numbers_ends(recipe: Recipe, name: str, data: DataSet, tmp_path: Path) -> None:
    train(replace(recipe, lr=0.01, epochs=1), data, tmp_path)
    good = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    torch.save({**good, "recipe": asdict(recipe)}, tmp_path / CHECKPOINT)
    good = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(UserError, match=r"is not finite, in epoch \d+: try a lower learning rate than") as ended:
        train(recipe, data, tmp_path)
    assert name in str(ended.value)
    assert "NaN" not in (tmp_path / METRICS).read_text()
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert state["epoch"] > 1 or (tmp_path / CHECKPOINT).read_bytes() == good


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_checkpoint(content: bytes, data: DataSet, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint of a vision training"):
        train(TINY, data, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "lenet"}, "unknown model 'lenet'"),
        ({"optimizer": "rmsprop"}, "unknown optimizer 'rmsprop'"),
        ({"batch": 10, "accumulate": 3}, "accumulate 3 must divide the batch of 10"),
        ({"lr": 0.0}, "lr must be a positive number, not 0.0"),
        ({"lr": float("nan")}, "lr must be a positive number"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"decay": -1.0}, "decay must be at least 0"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\)"),
        ({"rule": "bernoulli", "keep": 0.5}, "keep: the rule bernoulli has no keep ratio"),
        ({"options": "coats=0.3"}, "the rule edge_popup has no option 'coats'"),
        ({"options": "coats"}, "options 'coats' must be NAME=VALUE"),
    ],
)
def test_bad_recipes(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recipe_of("digits", changes)


def test_presets() -> None:
    assert all(isinstance(recipe, Recipe) for recipe in RECIPES.values())
    assert recipe_of("mnist-conv2", {"epochs": 1}).epochs == 1
    with pytest.raises(ValueError, match="unknown recipe 'mnist'"):
        recipe_of("mnist", {})


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["one-layer-lt", "vision", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def test_command_line(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    run, ticket = str(tmp_path / "run"), str(tmp_path / "net.ticket")
    code, said, _ = command("train", "--out", run, "--epochs", "2")
    assert code == 0
    accuracy = said.split("test accuracy ")[1].split("%")[0]
    assert f"test accuracy {accuracy}%" in command("evaluate", run)[1]
    assert command("export", run, "-o", ticket)[0] == 0
    assert f"test accuracy {accuracy}%" in command("evaluate", ticket, "--data", "digits")[1]
    assert "lenet_300_100 for 10 classes of images [1, 8, 8]" in command("info", ticket)[1]
    for arguments, says in (
        (["train", "--out", run, "--epochs", "3"], "holds a training with epochs 2, not 3"),
        (["train", "--recipe", "mnist"], "argument --recipe: invalid choice: 'mnist' (choose from"),
        (["train", "--recipe", "mnist-conv2", "--root", str(tmp_path)], str(tmp_path)),
        (["train", "--recipe", "mnist-conv2"], "name the folder (root)"),
        (["train", "--lr", "0"], "lr must be a positive number"),
        (["evaluate", ticket], "name it by --data"),
        (["evaluate", str(tmp_path / "absent"), "--data", "digits"], "absent"),
        (["evaluate", str(tmp_path)], "recipe.json"),
    ):
        code, _, errors = command(*arguments)
        assert code == 2
        lines = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert errors.strip().endswith(lines[0])
        assert says in lines[0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--keep", "2"], "error: --keep must be in (0, 1], not 2.0\n"),
        (["--batch", "0"], "error: --batch must be at least 1, not 0\n"),
        (["--options", "ramp"], "error: --options 'ramp' must be NAME=VALUE,..., each name once\n"),
    ],
)
def test_the_command_line_names_its_flags(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path, flags: list[str], said: str
) -> None:
    assert command("train", *flags, "-o", str(tmp_path / "run")) == (2, "", said)


def test_two_processes_train_to_the_same_curve(tmp_path: Path) -> None:
    """Without batch norms there is nothing to tell them from one but the order of sums."""
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    curves = []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        flags = ["--out", str(run), "--epochs", "2", "--width", "0.3", "--lr", "0.05"]
        starter = [sys.executable, "-m"]
        if processes > 1:
            starter += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        trained = [*starter, "one_layer_lt.vision", "train", *flags]
        result = subprocess.run(trained, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
        assert result.returncode == 0, result.stderr[-8000:]
        curves.append([json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()])
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    models = [torch.load(tmp_path / str(p) / CHECKPOINT, weights_only=True)["model"] for p in (1, 2)]
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("field", fields(Recipe), ids=lambda field: field.name)
def test_help_explains_every_setting(field: Field[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        subcommand("vision")[1].parse_args(["train", "--help"])
    said = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    flag = f"--{field.name.replace('_', '-')}"
    assert re.search(rf"{flag}(, --no-[\w-]+| \S+) {re.escape(' '.join(field.metadata['help'].split()))}", said)


def test_help_lists_choices_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    for action, says in (
        ("train", ["edge_popup, topk,", "lenet_300_100, fc,", "optimizer: sgd, adam (digits: sgd)", "(digits: 0.1)"]),
        ("evaluate", ["or of a ticket, which needs --data"]),
    ):
        with pytest.raises(SystemExit):
            subcommand("vision")[1].parse_args([action, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert all(part in said for part in says)
        assert "None" not in said
