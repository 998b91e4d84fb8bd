"""Resuming, fine-tuning, translating and imitating across what does not belong together is refused by the flag."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_plugins.belonging import DoesNotBelong
from fairseq_plugins.commands import distil, embeddings
from fairseq_plugins.commands.average import average
from fairseq_plugins.commands.reverse import swapped
from fairseq_plugins.ticket import from_checkpoint
from one_layer_lt import TicketError
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Manifest

from .running import TICKET_RECIPE, build, load_model, load_state, train

START = ["--logit-scale", "2"]
TRAINED = "the checkpoint's scores were trained with"
OTHERS: dict[str, tuple[list[str], str]] = {
    "seed": (["--ticket-seed", "2"], f"--ticket-seed: {TRAINED} 1, and this model has 2"),
    "rule": (["--mask-rule", "topk"], f"--mask-rule or --rule-per-kind: {TRAINED} edge_popup"),
    "keep": (["--keep", "0.4"], f"--keep or --keep-per-kind: {TRAINED} 0.5, and this model has 0.4"),
    "keep of a kind": (["--keep-per-kind", "fc1=0.4"], f"--keep or --keep-per-kind: {TRAINED} 0.5"),
    "share": (["--share-weights", "none"], f"--share-weights or --share-masks: {TRAINED} layer"),
    "share of masks": (["--share-masks", "heads"], "--share-masks: "),
    "rescale": (["--mask-rescale", "row"], f"--mask-rescale: {TRAINED} none"),
    "dropped": (["--frozen-dropped", "0.1"], f"--frozen-dropped: {TRAINED} 0.0"),
    "attention": (["--attention-init", "same"], f"--random-init or --attention-init: {TRAINED} xavier_uniform"),
    "scale": (["--weight-scale-per-kind", "fc1=2"], "--weight-scale-per-kind or --query-key-scale: "),
    "init": (["--random-init", "kaiming_normal"], f"--random-init or --attention-init: {TRAINED} kaiming_uniform"),
    "query and key": (["--query-key-scale", "2"], "--weight-scale-per-kind or --query-key-scale: "),
    "positions": (["--no-scale-embedding"], "--no-scale-embedding: the checkpoint was trained with False"),
    "dense": (["--dense"], "--dense: the checkpoint's weights are masked, and this model's are dense"),
    "logits": (["--logit-scale", "1"], "--logit-scale 1: the checkpoint was trained with 2"),
}


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was stopped."""
    return train(data, tmp_path_factory.mktemp("run"), *START, *TICKET_RECIPE, updates=4).parent


@pytest.fixture(scope="module")
def trainings(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints of one update: by a mask, of a dense model, and of a twin."""
    folder = tmp_path_factory.mktemp("trainings")
    kinds: dict[str, list[str]] = {"masked": [], "dense": ["--dense"], "twin": ["--dense", "--twin"]}
    return {kind: train(data, folder / kind, *flags, *TICKET_RECIPE, updates=1) for kind, flags in kinds.items()}


@pytest.mark.parametrize("what", OTHERS)
def test_resuming_with_another_setting(
    what: str, run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, said = OTHERS[what]
    shutil.copytree(run, tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint_last.pt").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        train(data, tmp_path / "run", *START, *TICKET_RECIPE, *flags, updates=8)
    assert stopped.value.code == 2
    assert f"fairseq-train: error: {said}" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint_last.pt").read_bytes() == before


def test_bits_of_a_training(data: Path, tmp_path: Path, capsys: Any) -> None:
    train(data, tmp_path, "--dense", "--train-bits", "2", *TICKET_RECIPE, updates=2)
    with pytest.raises(SystemExit):
        train(data, tmp_path, "--dense", "--train-bits", "5", *TICKET_RECIPE, updates=4)
    assert "--train-bits: the checkpoint was trained with 2, and this model has 5" in capsys.readouterr().err


def test_fine_tuning_onto_other_weights(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["--finetune-from-model", str(run / "checkpoint_last.pt")]
    train(data, tmp_path / "same", *START, *TICKET_RECIPE, *start, updates=2)
    with pytest.raises(SystemExit):
        train(data, tmp_path / "other", *START, *TICKET_RECIPE, *start, "--ticket-seed", "7", updates=2)
    assert "--ticket-seed: the checkpoint's scores were trained with 1, and this model has 7" in capsys.readouterr().err


@pytest.fixture(params=["reordered", "reversed"])
def other_data(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> tuple[Path, str]:
    """Data whose dictionaries are of the same size: with other entries, or the languages the other way round."""
    folder = tmp_path / "other"
    shutil.copytree(data, folder)
    if request.param == "reordered":
        for language in ("xx", "yy"):
            path = folder / f"dict.{language}.txt"
            path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        return folder, "the source dictionary is not the one that the checkpoint was trained with"
    for path in list(folder.glob("*.xx-yy.*")):
        stem, _, rest = path.name.partition(".xx-yy.")
        language, _, kind = rest.partition(".")
        path.rename(folder / f"{stem}.yy-xx.{language}.{kind}")
    return folder, "the source language is not the one that the checkpoint was trained with ('xx' there, 'yy' here)"


@pytest.mark.parametrize("dense", [False, True])
def test_other_dictionaries_and_directions(
    dense: bool, other_data: tuple[Path, str], trainings: dict[str, Path]
) -> None:
    folder, said = other_data
    checkpoint = trainings["dense" if dense else "masked"]
    overrides: dict[str, Any] = {"data": str(folder), "source_lang": None, "target_lang": None}
    with pytest.raises(DoesNotBelong) as refused:
        checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], arg_overrides=overrides)
    assert said in str(refused.value)
    if not dense:
        with pytest.raises(TicketError, match="is not the one that the checkpoint was trained with"):
            from_checkpoint(checkpoint, folder)


def test_a_twin_of_other_data(other_data: tuple[Path, str], trainings: dict[str, Path], capsys: Any) -> None:
    folder, said = other_data
    twin = trainings["twin"]
    with pytest.raises(SystemExit):
        build(folder, "--scores-from", str(twin))
    assert f"--scores-from {twin}: {said}" in capsys.readouterr().err


def test_checkpoints_of_before_load_with_a_warning(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = load_state(run / "checkpoint_last.pt")
    state["model"] = {n: t for n, t in state["model"].items() if not n.endswith(("trained_over", "_extra_state"))}
    torch.save(state, tmp_path / "old.pt")
    with pytest.warns(UserWarning, match="do not say what they were trained over"):
        old, new = load_model(tmp_path / "old.pt"), load_model(run / "checkpoint_last.pt")
    assert "does not say what data it was trained on" in caplog.text
    found = old.state_dict()
    for name, tensor in new.state_dict().items():
        assert torch.equal(found[name], tensor)


def test_going_on_with_other_text_is_warned_of(
    run: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run, tmp_path / "run")
    other = Path(shutil.copytree(data, tmp_path / "other"))
    said = "checkpoint_last.pt goes on with other text than its training began with"
    train(other, tmp_path / "run", *START, *TICKET_RECIPE, updates=5)
    assert said not in caplog.text  # the same, elsewhere
    (other / "train1.xx-yy.xx.bin").touch()
    train(other, tmp_path / "run", *START, *TICKET_RECIPE, updates=6)
    assert said in caplog.text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ticket-seed", "2"], "2.pt was trained with seed 2, and .*1.pt with 1: they cannot be averaged"),
        (["--keep", "0.4"], "2.pt was trained with keep 0.4, and .*1.pt with 0.5"),
        (["--seed", "9"], "2.pt was trained with --seed 9, and .*1.pt with 3"),
        (["--dense"], "2.pt holds another model than .*1.pt"),
    ],
)
def test_averaging_across_trainings(
    flags: list[str], said: str, trainings: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    shutil.copy(trainings["masked"], tmp_path / "1.pt")
    train(data, tmp_path / "2", *TICKET_RECIPE, *flags, updates=1).rename(tmp_path / "2.pt")
    with pytest.raises(UserError, match=said):
        average([tmp_path / "1.pt", tmp_path / "2.pt"], tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


def test_what_a_checkpoint_says_of_its_data(run: Path, data: Path, tmp_path: Path) -> None:
    """Without a look at the folder that it names."""
    settings = Manifest.read(data).settings
    state = load_state(run / "checkpoint_last.pt")
    state["cfg"]["task"]["data"] = "/nowhere"
    torch.save(state, tmp_path / "named.pt")
    distil.check(tmp_path / "named.pt", data, settings, surely=True)
    with pytest.raises(DoesNotBelong, match=r"named\.pt: the source language is not the one .*\('xx' there, 'yy' here"):
        distil.check(tmp_path / "named.pt", data, swapped(settings))
    path = shutil.copytree(data, tmp_path / "other") / "dict.xx.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(DoesNotBelong, match="the source dictionary is not the one"):
        distil.check(tmp_path / "named.pt", tmp_path / "other", settings)


def test_embeddings_of_a_model_of_other_entries(trainings: dict[str, Path], data: Path, tmp_path: Path) -> None:
    path = shutil.copytree(data, tmp_path / "other") / "dict.xx.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    asked = Namespace(kind="model", checkpoint=trainings["dense"], data=tmp_path / "other", out=tmp_path / "vectors")
    with pytest.raises(
        DoesNotBelong, match="the source dictionary is not the one that the checkpoint was trained with"
    ):
        embeddings.run(asked)
    assert not asked.out.exists()
