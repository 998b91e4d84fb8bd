"""fairseq's commands on a masked model: training, resuming, translating, validating, averaging, two processes."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import generate, interactive

from fairseq_plugins.commands.average import average
from one_layer_lt import masked_modules, masked_weight, scores_of

from .running import ONCE, PLUGIN, batch, load_model, load_state, train, train_arguments

SEED = ["--mask-seed", "7"]


def _scores(checkpoint: Path) -> dict[str, torch.Tensor]:
    model = load_state(checkpoint)["model"]
    return {name: tensor for name, tensor in model.items() if name.endswith("parametrizations.weight.original")}


def _generate(corpus: Path, checkpoint: Path, *flags: str) -> str:
    arguments = [str(corpus), "--path", str(checkpoint), "--user-dir", str(PLUGIN), "--cpu", "--beam", "2"]
    arguments += ["--max-len-b", "8", "--required-batch-size-multiple", "1", "--no-progress-bar", *flags]
    args = options.parse_args_and_arch(options.get_generation_parser(), arguments)
    said = io.StringIO()
    with redirect_stdout(said):
        generate.main(convert_namespace_to_omegaconf(args))
    return said.getvalue()


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a short training."""
    return train(corpus, tmp_path_factory.mktemp("run"), *SEED, *ONCE, updates=8)


def test_checkpoint_holds_scores_and_no_random_weights(trained: Path) -> None:
    model = load_state(trained)["model"]
    frozen = set(model) - set(_scores(trained))
    # Besides scores: zero biases, plain layer norms and fairseq's own marks.
    said = ("trained_over", "_extra_state")  # what scores and model belong to
    assert all(name.endswith((".bias", "layer_norm.weight", "version", "_float_tensor", *said)) for name in frozen)
    assert all(not model[name].any() for name in frozen if name.endswith("bias"))
    assert all((model[name] == 1).all() for name in frozen if name.endswith("layer_norm.weight"))


def test_loaded_model_is_the_trained_one(trained: Path) -> None:
    first, second = load_model(trained), load_model(trained)
    digests = [
        {masked_weight(module).name: masked_weight(module).shared.digest() for _, module in masked_modules(model)}
        for model in (first, second)
    ]
    assert digests[0] == digests[1]
    assert first.args.ticket_seed == 7
    with torch.no_grad():
        assert torch.equal(first(**batch())[0], second(**batch())[0])


SCHEDULED = {
    "edge_popup": [],
    "bernoulli": ["--mask-rule", "bernoulli"],
    "gem_miner": ["--mask-rule", "gem_miner", "--mask-options", "period=2,over=6,l2=0.01", "--keep", "0.2"],
    "iterand": ["--mask-rule", "iterand", "--mask-options", "period=2,fraction=0.5", "--keep", "0.2"],
    "annealed": ["--mask-rule", "annealed", "--mask-options", "over=6,schedule=cosine"],
    "continuous": ["--mask-rule", "continuous", "--mask-options", "over=6"],
    "biprop": ["--mask-rule", "biprop", "--mask-options", "scope=global,ramp=5", "--share", "layer_mask"],
}


@pytest.mark.parametrize("rule", SCHEDULED)
def test_resuming_equals_no_interruption(rule: str, corpus: Path, tmp_path: Path) -> None:
    flags = ["--disable-validation", *ONCE, "--update-freq", "2", *SCHEDULED[rule]]
    flags += [] if "--share" in flags else ["--encoder-layers", "1", "--decoder-layers", "1"]
    whole = train(corpus, tmp_path / "whole", *flags, updates=7)
    train(corpus, tmp_path / "parts", *flags, updates=3)
    parts = train(corpus, tmp_path / "parts", *flags, updates=7)
    expected, found = load_state(whole), load_state(parts)
    assert found["optimizer_history"][-1]["num_updates"] == 7
    assert expected["model"].keys() == found["model"].keys()
    assert all(torch.equal(tensor, found["model"][name]) for name, tensor in expected["model"].items())


def test_it_learns_by_masks_alone(corpus: Path, tmp_path: Path) -> None:
    losses = []
    flags = ["--max-tokens", "400", "--lr", "1e-2", *ONCE]
    for updates in (1, 60):
        checkpoint = train(corpus, tmp_path / str(updates), *flags, updates=updates)
        losses.append(load_state(checkpoint)["extra_state"]["best"])
    assert losses[1] < 0.8 * losses[0], losses


def test_generate_folds_and_agrees_with_the_masked_model(
    corpus: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = _generate(corpus, trained)
    assert len(re.findall(r"^H-\d+\t", folded, re.MULTILINE)) == 8
    monkeypatch.setattr("fairseq_plugins.one_layer_masked.fold_", lambda model: model)
    masked = _generate(corpus, trained)
    translations = re.compile(r"^[HPD]-.*$", re.MULTILINE)
    assert translations.findall(folded) == translations.findall(masked)


def test_interactive(corpus: Path, trained: Path, tmp_path: Path) -> None:
    text = tmp_path / "input"
    text.write_text("alpha bravo\ncharlie\n")
    arguments = [str(corpus), "--path", str(trained), "--user-dir", str(PLUGIN), "--cpu", "--input", str(text)]
    args = options.parse_args_and_arch(options.get_interactive_generation_parser(), arguments)
    said = io.StringIO()
    with redirect_stdout(said):
        interactive.main(convert_namespace_to_omegaconf(args))
    assert len(re.findall(r"^H-\d+\t", said.getvalue(), re.MULTILINE)) == 2


def test_validate(corpus: Path, trained: Path) -> None:
    # In a process of its own: the command sets up logging anew, which a test's own process does not survive.
    command = [sys.executable, "-m", "fairseq_cli.validate", str(corpus), "--path", str(trained)]
    command += ["--task", "translation", "--user-dir", str(PLUGIN), "--cpu", "--max-tokens", "120"]
    result = subprocess.run(
        [*command, "--log-format", "simple"], capture_output=True, text=True, cwd=PLUGIN.parent, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    (loss,) = re.findall(r"\| loss ([\d.]+)", result.stdout + result.stderr)
    assert float(loss) == pytest.approx(load_state(trained)["extra_state"]["best"], abs=2e-3)


def test_average_of_checkpoints_translates(corpus: Path, trained: Path, tmp_path: Path) -> None:
    first = train(corpus, tmp_path / "a", *SEED, *ONCE, updates=2)
    mean = tmp_path / "mean.pt"
    average([first, trained], mean)
    ours, theirs = _scores(first), _scores(trained)
    for name, scores in _scores(mean).items():
        torch.testing.assert_close(scores, (ours[name] + theirs[name]) / 2)
    assert "H-0" in _generate(corpus, mean)


def test_bleu_and_tensorboard_while_training(corpus: Path, tmp_path: Path) -> None:
    flags = ["--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 8}', "--eval-bleu-detok", "space"]
    flags += ["--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"]
    checkpoint = train(corpus, tmp_path / "run", *flags, "--tensorboard-logdir", str(tmp_path / "board"))
    assert load_state(checkpoint)["extra_state"]["best"] >= 0
    assert list((tmp_path / "board").rglob("events.out.tfevents.*"))
    # Translating within training must not have folded the model that goes on learning.
    assert _scores(checkpoint)


def test_two_processes_agree_with_one(corpus: Path, tmp_path: Path) -> None:
    flags = ["--lr", "1e-3", "--log-format", "json", "--disable-validation", *ONCE]
    alone = train(corpus, tmp_path / "alone", *flags, "--update-freq", "2", updates=3)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    distributed = ["--distributed-world-size", "2", "--distributed-init-method", f"tcp://127.0.0.1:{port}"]
    distributed += ["--distributed-backend", "gloo", "--distributed-no-spawn", "--ddp-backend", "legacy_ddp"]
    processes = []
    for rank in range(2):
        arguments = train_arguments(corpus, tmp_path / "pair", *flags, *distributed, updates=3)
        command = [sys.executable, "-m", "fairseq_cli.train", *arguments, "--distributed-rank", str(rank)]
        with open(tmp_path / f"{rank}.log", "wb") as log:
            processes.append(subprocess.Popen(command, cwd=PLUGIN.parent, stdout=log, stderr=subprocess.STDOUT))
    codes = [process.wait(timeout=240) for process in processes]
    assert codes == [0, 0], (tmp_path / "0.log").read_text()[-2000:]
    expected, found = _scores(alone), _scores(tmp_path / "pair" / "checkpoint_last.pt")
    assert expected.keys() == found.keys()
    start = _scores(train(corpus, tmp_path / "start", "--lr", "0", updates=1))
    for name, scores in expected.items():
        torch.testing.assert_close(found[name], scores, rtol=1e-4, atol=2e-6)
        assert not torch.equal(scores, start[name])


def test_arch_without_the_plugin_is_unknown(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fairseq_cli.train", str(corpus), "--arch", "one_layer_masked", "--cpu"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert "one_layer_masked" in result.stderr.splitlines()[-1] or "invalid choice" in result.stderr


def test_hydra_train(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "task=translation", f"task.data={corpus}"]
    command += ["task.source_lang=xx", "task.target_lang=yy", f"common.user_dir={PLUGIN}", "common.cpu=true"]
    command += ["+model._name=one_layer_masked", "+model.keep=0.25", "+model.encoder_embed_dim=16"]
    command += ["+model.decoder_embed_dim=16", "+model.encoder_layers=1", "+model.decoder_layers=1"]
    command += ["criterion=label_smoothed_cross_entropy", "optimizer=adam", "lr_scheduler=fixed"]
    command += ["optimization.max_update=2", "optimization.lr=[0.001]", "dataset.max_tokens=120"]
    command += ["dataset.required_batch_size_multiple=1", f"checkpoint.save_dir={tmp_path / 'run'}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    decoder = load_model(tmp_path / "run" / "checkpoint_last.pt").decoder
    mask = masked_weight(decoder.output_projection).mask(scores_of(decoder.embed_tokens))
    assert mask.sum() == 0.25 * mask.numel()
