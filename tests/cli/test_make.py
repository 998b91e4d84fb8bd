"""one-layer-lt make: from text to a page, in stages that are done once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from fairseq import options

from data_prep.lib import pipeline
from fairseq_plugins.commands import make
from fairseq_plugins.commands.make import Sizes, Stage, sizes_for, stages
from one_layer_lt import load_ticket
from one_layer_lt.cli import call
from one_layer_lt.errors import UserError
from tests.data_prep.conftest import sentences, write
from tests.plugin.running import binarised


def test_the_table_of_the_help_is_what_is_done() -> None:
    rows = re.findall(
        r"^    .*?(\d+) +([\d,]+) updates of ([\d,]+) +([\d,]+) updates of 1,024", make.__doc__ or "", re.M
    )
    numbers = [Sizes(*(int(number.replace(",", "")) for number in row)) for row in rows]
    assert numbers == [sizes_for(10_000, None, None, None), sizes_for(10_001, None, None, None)]
    assert sizes_for(5, 64, 7, None) == Sizes(64, 7, 2048, 8000)


def test_fairseq_train_takes_the_recipe(tmp_path: Path) -> None:
    twin, signs, *_ = stages(tmp_path, sizes_for(29_000, None, None, None))
    for stage in (twin, signs):
        args = options.parse_args_and_arch(options.get_training_parser(), stage.command[1:])
        assert (args.max_update, args.max_tokens) == (stage.updates, stage.tokens)
        assert (args.encoder_embed_dim, args.decoder_ffn_embed_dim) == (256, 1024)
    assert (twin.work, signs.work) == (2600 * 4096, 6000 * 1024)
    assert args.scores_from == args.teacher == str(tmp_path / "twin" / "checkpoint_best.pt")


def test_what_is_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = [Stage(name, ["fairseq-train", name], tmp_path / name / "trained", 2, 3) for name in ("twin", "signs")]
    asked: list[tuple[str, int, int]] = []

    def trained(arguments: Sequence[str], bar: object, before: int, worth: int) -> Path:
        asked.append((arguments[0], before, worth))
        if asked[-1][0] == "signs" and len(asked) == 2:
            raise KeyboardInterrupt
        (tmp_path / arguments[0]).mkdir()
        return write(tmp_path / arguments[0] / "train.log", [])

    monkeypatch.setattr(make, "train", trained)
    with pytest.raises(KeyboardInterrupt):
        make.make(tmp_path, planned)
    capsys.readouterr()
    make.make(tmp_path, planned)
    assert capsys.readouterr().out.startswith("twin: done before\nsigns:\n")
    assert asked == [("twin", 0, 3), ("signs", 6, 3), ("signs", 6, 3)]


def test_from_a_table_to_a_page_and_a_ticket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "binarize", binarised)
    # What is no training runs in this process: half the time.
    monkeypatch.setattr(make, "process", SimpleNamespace(run=lambda command, **_: call(command[1:])))
    table = write(Path("my.tsv"), ["\t".join(pair) for pair in sentences(120, 3)])
    sizes = ["--size", "60", "--width", "16", "--twin-updates", "4", "--updates", "4"]
    asked = ["make", "my.tsv", "--source", "de", "--target", "en", *sizes]
    call([*asked, "-o", "my.html"])
    said, complaints = capfd.readouterr()
    assert "120  read\n" in said
    assert re.search(r"^BLEU \d", said, re.M)
    assert re.search(r"my.html: [\d,]+ bytes; its stages are in my.work\n$", said)
    assert "Warning" not in complaints
    assert "TransformerModel" not in said + complaints
    assert Path("my.html").read_text().startswith("<!doctype html>")
    call([*asked, "-o", "my.ticket"])  # of the same stages
    assert capfd.readouterr().out.count(": done before\n") == 4
    assert len(load_ticket("my.ticket").translate(["Der hund."])) == 1
    for changed, message in (
        (["--width", "32"], "begun with --width 16, not --width 32"),
        (["--seed", "2"], "--seed 1"),
    ):
        with pytest.raises(UserError, match=message):
            call([*asked, *changed, "-o", "my.html"])
    with pytest.raises(UserError, match=r"my\.work was begun with --updates 4, not no --updates: name another --work"):
        call([*asked[:-2], "-o", "my.html"])
    write(table, ["ganz\tother"] * 9)
    with pytest.raises(UserError, match=r"my.work was begun with other text than my.tsv"):
        call([*asked, "-o", "my.html"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["-o", "my.pdf"], r"-o my.pdf: must end in .html, for a page, or in .ticket"),
        (["--width", "6"], "--width 6: must be a multiple of 4"),
        (["--ratio", "0"], "--ratio 0: must be above 1"),
        (["--work", "other"], "other holds something else: name another --work"),
    ],
)
def test_what_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("my.tsv"), ["a\tb"])
    write(Path("other/thesis.txt"), ["mine"])
    with pytest.raises(UserError, match=message):
        call(["make", "my.tsv", "--source", "de", "--target", "en", "-o", "my.html", *changed])
    with pytest.raises(UserError, match=r"--from none\.tsv does not exist"):
        call(["make", "none.tsv", "--source", "de", "--target", "en", "-o", "my.html"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.tsv", "other"]
