"""one-layer-lt score and average: the parts by hand-made input, and one whole run of fairseq."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.lib import pipeline
from fairseq_plugins.commands import average, score
from fairseq_plugins.generate import parse, translate
from one_layer_lt import origin
from one_layer_lt.cli import main
from one_layer_lt.errors import UserError
from one_layer_lt.text import moses
from one_layer_lt.text.manifest import Manifest, Settings, checksums
from one_layer_lt.text.subwords import Subword

ROOT = Path(__file__).resolve().parents[2]
GERMAN, ENGLISH = ["Guten Morgen, Welt!", "Das ist Peters Haus."], ["Good morning, world!", "That is Peter's house."]


def settings(tokenizer: str = "sentencepiece", lowercase: bool = False, target: str = "en") -> Settings:
    return Settings("toy", "de", target, tokenizer, 100, lowercase, False, True)


def data_folder(folder: Path, made: Settings | None = None, tokens: list[str] | None = None) -> Path:
    """What score reads of a data folder, fairseq's files aside."""
    made = made or settings()
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "test.en").write_text("\n".join(ENGLISH) + "\n")
    if tokens:
        (folder / "tok").mkdir()
        (folder / "tok" / "test.en").write_text("\n".join(tokens) + "\n")
    Manifest(made, "", {"train": 2, "valid": 0, "test": 2}, {}, {}).write(folder)
    return folder


def checkpoint(path: Path, value: float = 0.0, updates: int = 7, **model: torch.Tensor) -> Path:
    tensors = {"weight": torch.full((2,), value), "version": torch.tensor([3]), **model}
    state = {
        "args": argparse.Namespace(arch="toy"),
        "model": tensors,
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {"train_iterator": {"epoch": 3, "iterations_in_epoch": 0}},
        "last_optimizer_state": {"step": updates},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def test_parse_takes_the_best_hypothesis_of_each_sentence() -> None:
    lines = [
        "2026-01-01 00:00:00 | INFO | fairseq_cli.generate | H-9\t0\tnot a hypothesis\n",
        "S-2\tzwei\n",
        "T-2\ttwo\n",
        "H-2\t-0.5\tsecond\n",
        "D-2\t-0.5\tsecond\n",
        "P-2\t-0.1 -0.2\n",
        "H-2\t-0.9\tsecond best of the second\n",
        "H-0\t-1.25e-05\tfirst \u2028 <unk> \t tab\n",
        "H-1\t-inf\t\n",  # nothing but the end of the sentence
        "Generate test with beam=5\n",
    ]
    assert parse(lines) == {2: "second", 0: "first \u2028 <unk> \t tab", 1: ""}


def test_translate_restores_the_order() -> None:
    program = r"print('H-1\t-1\tb\nH-0\t-1\t\u00e4\u2028\nH-2\t-1\t')"
    assert translate(["python", "-X", "utf8", "-c", program], 3) == ["ä\u2028", "b", ""]


def test_translate_misses_a_sentence() -> None:
    with pytest.raises(UserError, match="translated 1 sentences, but there are 2"):
        translate(["python", "-c", r"print('H-0\t-1\ta')"], 2)


def test_translate_tells_why_it_failed() -> None:
    with pytest.raises(UserError, match=r"fairseq-generate ended with code 1: ValueError: no luck$"):
        translate(["python", "-c", "raise ValueError('no luck')"], 2)


def test_what_is_translated_is_read_as_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    said = r"print('H-0\t-1\tÜbung → 日本')"
    assert translate(["python", "-c", said], 1) == ["Übung → 日本"]


def test_detokenise() -> None:
    lines = ["Peter &apos;s house , 50 % &amp; &quot; more &quot; .", "", "well @-@ known", "<unk>"]
    assert moses.detokenise(lines, "en") == ['Peter\'s house, 50% & "more".', "", "well-known", "<unk>"]


def test_score_sentencepiece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def translate(command: list[str], count: int) -> list[str]:
        commands.append(command)
        return [ENGLISH[0], ""]

    monkeypatch.setattr(score, "translate", translate)
    path = checkpoint(tmp_path / "run" / "checkpoint_best.pt")
    result = score.score(tmp_path / "run", data_folder(tmp_path / "data"), beam=2, lenpen=0.6, extra=["--fp16"])
    written = json.loads((tmp_path / "run" / "checkpoint_best.test.json").read_text())
    assert written == result
    assert (tmp_path / "run" / "checkpoint_best.test.txt").read_text() == ENGLISH[0] + "\n\n"
    assert result["checkpoint"]["path"] == str(path)
    assert (result["checkpoint"]["updates"], result["checkpoint"]["epoch"]) == (7, 2)
    assert result["tokenised_bleu"] is None
    assert (result["beam"], result["lenpen"], result["sentences"], result["exact_match"]) == (2, 0.6, 2, 0.5)
    assert result["command"].endswith("--split test --beam 2 --lenpen 0.6 --max-tokens 8000 -- --fp16")
    assert "exact match 50.0%" in score.summary(result)
    bleu, chrf = written["bleu"], written["chrf"]
    assert bleu["brevity_penalty"] < 1
    assert bleu["length_ratio"] == 5 / 10  # tokens: "Good morning , world !", and "That is Peter's house ."
    said = [
        f"BLEU {bleu['score']:.2f} (95% interval {bleu['ci95'][0]:.2f} to {bleu['ci95'][1]:.2f}, brevity penalty 0."
    ]
    said += ["length ratio 0.500)", f"chrF {chrf['score']:.2f} (95% interval {chrf['ci95'][0]:.2f} to "]
    assert all(part in score.summary(result) for part in said)
    assert commands[0][-1] == "--fp16"
    assert commands[0][commands[0].index("--post-process") + 1] == "sentencepiece"


def test_score_tokenised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ["good morning , world !", "that is peter &apos;s house ."]
    monkeypatch.setattr(score, "translate", lambda command, count: tokens)
    data = data_folder(tmp_path / "data", settings("moses-bpe", lowercase=True), tokens)
    result = score.score(checkpoint(tmp_path / "a.pt"), data, out=tmp_path / "scores.json")
    assert result["bleu"]["score"] == pytest.approx(100)
    assert result["tokenised_bleu"]["score"] == pytest.approx(100)
    assert "tok:none" in result["tokenised_bleu"]["signature"]
    assert "tok:13a" in result["bleu"]["signature"]
    assert "tokenised BLEU 100.00" in score.summary(result)
    assert (tmp_path / "scores.txt").read_text().splitlines() == [line.lower() for line in ENGLISH]


def test_what_finds_words_is_looked_for_before_the_long_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    monkeypatch.setattr(score, "translate", lambda command, count: pytest.fail("it was translated"))
    data = data_folder(tmp_path / "data", settings(target="jpn"))
    (data / "raw" / "test.en").rename(data / "raw" / "test.jpn")
    with pytest.raises(UserError, match=r"pip install 'sacrebleu\[ja\]'"):
        score.score(checkpoint(tmp_path / "a.pt"), data)


def test_paths_are_of_the_repository_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    root.mkdir()
    checkpoint(disk / "runs" / "a" / "checkpoint_best.pt")
    data_folder(disk / "data")
    (root / "runs").symlink_to(disk / "runs")
    (root / "data").symlink_to(disk / "data")
    (tmp_path / "link").symlink_to(root)  # to the repository itself
    monkeypatch.setattr(origin, "ROOT", root)
    monkeypatch.setattr(score, "translate", lambda command, count: ENGLISH)
    result = score.score(root / "runs" / "a", root / "data")
    assert (result["data"], result["checkpoint"]["path"]) == ("data", "runs/a/checkpoint_best.pt")
    assert result["command"].startswith("one-layer-lt score runs/a --data data --split test ")
    checkpoint(root / "b.pt")
    assert score.score(tmp_path / "link" / "b.pt", root / "data")["checkpoint"]["path"] == "b.pt"


def test_average(tmp_path: Path) -> None:
    for epoch, value in ((8, 99.0), (9, 1.0), (10, 2.0), (11, 6.0)):
        half = torch.full((1,), value, dtype=torch.float16)
        checkpoint(tmp_path / f"checkpoint{epoch}.pt", value, updates=epoch, half=half)
    checkpoint(tmp_path / "checkpoint_best.pt", 50)
    checkpoint(tmp_path / "checkpoint_1_900.pt", 70)
    path, parts = score.find_checkpoint(tmp_path, last=3)
    assert [part.name for part in parts] == ["checkpoint9.pt", "checkpoint10.pt", "checkpoint11.pt"]
    state = average.load(path)
    assert state["model"]["weight"].tolist() == [3, 3]
    assert (state["model"]["half"].item(), state["model"]["half"].dtype) == (3, torch.float16)
    assert state["model"]["version"].item() == 3
    assert score.progress_of(state)["updates"] == 11
    assert "last_optimizer_state" not in state


def test_last_checkpoints_by_update(tmp_path: Path) -> None:
    for name in ("checkpoint1", "checkpoint_1_900", "checkpoint_2_1000", "checkpoint_last"):
        checkpoint(tmp_path / f"{name}.pt")
    found = average.last_checkpoints(tmp_path, 2)
    assert [path.name for path in found] == ["checkpoint_1_900.pt", "checkpoint_2_1000.pt"]


def test_average_of_different_models(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoint1.pt")
    checkpoint(tmp_path / "checkpoint2.pt", weight=torch.zeros(3))
    with pytest.raises(UserError, match=r"checkpoint2\.pt holds another model"):
        score.find_checkpoint(tmp_path, last=2)


def test_more_references_than_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "translate", lambda command, count: pytest.fail("it was translated"))
    data = data_folder(tmp_path / "data")
    with (data / "raw" / "test.en").open("a") as file:
        file.write("One more.\n")
    with pytest.raises(UserError, match=r"raw/test.en has 3 lines, but 2 are to be translated: delete"):
        score.score(checkpoint(tmp_path / "a.pt"), data)


class Harmful:
    """Its pickle would write a file when loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("harm"), "done")


def test_a_checkpoint_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "args": Harmful()}, "bad.pt")
    with pytest.raises(UserError, match=r"bad\.pt is damaged, or no fairseq checkpoint"):
        average.load(Path("bad.pt"))
    assert not Path("harm").exists()


@pytest.mark.parametrize(
    ("files", "last", "message"),
    [
        ([], None, "no checkpoint_best.pt: it has no checkpoints at all"),
        (["checkpoint3.pt"], None, "no checkpoint_best.pt: name one of checkpoint3.pt, or use --last"),
        (["checkpoint3.pt", "checkpoint_best.pt"], 2, "has 1 numbered checkpoints, not the 2 that --last asks for"),
    ],
)
def test_folder_without_checkpoints(tmp_path: Path, files: list[str], last: int | None, message: str) -> None:
    for name in files:
        checkpoint(tmp_path / name)
    with pytest.raises(UserError, match=message):
        score.find_checkpoint(tmp_path, last)


def test_bad_input(tmp_path: Path) -> None:
    data, path = data_folder(tmp_path / "data"), checkpoint(tmp_path / "a.pt")
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.pt is damaged"):
        score.score(tmp_path / "cut.pt", data)
    with pytest.raises(UserError, match="no split 'valid'"):
        score.score(path, data, split="valid")
    with pytest.raises(UserError, match="needs a folder"):
        score.score(path, data, last=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pt", "--data", "data"], "error: no such checkpoint: missing.pt"),
        (["a.pt", "--data", "."], "is not a prepared data folder"),
        (["a.pt", "--data", "data", "--beam", "0"], "0 is not a whole number above 0"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    data_folder(Path("data"))
    checkpoint(Path("a.pt"))
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "score", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in said
    assert said.count("\n") == 1


def test_changed_references_are_not_scored(tmp_path: Path) -> None:
    data = data_folder(tmp_path / "data")
    Manifest(settings(), "", {"train": 2, "valid": 0, "test": 2}, checksums(data), {}).write(data)
    (data / "raw" / "test.en").write_text("Good evening, world!\nThat is Peter's house.\n")
    with pytest.raises(UserError, match=r"raw/test\.en has changed: delete .*data and prepare it again"):
        score.score(checkpoint(tmp_path / "a.pt"), data)


def test_whole_run_of_fairseq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """fairseq's own Transformer, trained for two epochs on 30 pairs; the mean of both is scored."""
    for name, low, high in (("train", 0, 30), ("valid", 5, 15), ("test", 0, 7)):
        for language, one, other in (("de", "Haus", "Peters Nr."), ("en", "house", "Peter's no.")):
            lines = [f"{other} {number}, {one}!" for number in range(low, high)]
            (tmp_path / f"{name}.{language}").write_text("\n".join(lines) + "\n")
    raw = {split: (tmp_path / f"{split}.de", tmp_path / f"{split}.en") for split in ("train", "valid", "test")}
    data, run_folder = tmp_path / "data", tmp_path / "run"
    pipeline.prepare(
        corpus="toy", source="de", target="en", raw=raw, out=data, subword=Subword("moses-bpe", 20, lowercase=True)
    )
    sizes = [
        f"--{side}-{what}={value}"
        for side in ("encoder", "decoder")
        for what, value in (("embed-dim", 8), ("ffn-embed-dim", 8), ("layers", 1), ("attention-heads", 2))
    ]
    command = [sys.executable, "-m", "fairseq_cli.train", str(data), "--arch", "transformer", *sizes]
    command += ["--save-dir", str(run_folder), "--user-dir", str(ROOT / "fairseq_plugins"), "--max-epoch", "2"]
    command += ["--max-tokens", "500", "--optimizer", "adam", "--lr", "0.01", "--cpu", "--no-progress-bar"]
    subprocess.run(command, check=True, capture_output=True)

    arguments = [str(run_folder), "--data", str(data), "--last", "2", "--beam", "2", "--", "--cpu", "--max-len-b", "10"]
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "score", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    result = json.loads((run_folder / "checkpoint_average_2.test.json").read_text())
    assert result["checkpoint"]["averaged"] == ["checkpoint1.pt", "checkpoint2.pt"]
    assert result["checkpoint"]["epoch"] == 2
    assert result["checkpoint"]["updates"] > 0
    assert result["sentences"] == 7
    assert 0 <= result["tokenised_bleu"]["score"] < 100
    assert "case:lc" in result["bleu"]["signature"]
    assert result["bleu"]["signature"] in capsys.readouterr().out
    assert len((run_folder / "checkpoint_average_2.test.txt").read_text().split("\n")) == 8
