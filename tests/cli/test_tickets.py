"""The command line: one-layer-lt in this process, on a ticket that the plugin made."""

from __future__ import annotations

import io
import logging
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest

import one_layer_lt
from fairseq_plugins.commands import distil, export, prune, score
from fairseq_plugins.fold import how_to_translate
from one_layer_lt import Ticket
from one_layer_lt.cli import main, translate
from one_layer_lt.cli.parser import Parser
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.ticket import box
from one_layer_lt.translation import Decoding
from tests.plugin.running import TICKET_RECIPE, train
from tests.support.cards import CARD, marked_card
from tests.support.translators import with_settings

ROOT = Path(__file__).parents[2]

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout, stderr) of ``one-layer-lt ARGUMENTS`` on a standard input of bytes."""

    def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["one-layer-lt", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return call


@pytest.fixture
def file(ticket: Ticket, tmp_path: Path) -> Path:
    path = tmp_path / "toy.ticket"
    ticket.save(path)
    return path


def test_export_writes_the_ticket(run: Run, checkpoint: Path, data: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "other.ticket"
    code, said, _ = run("export", checkpoint, "--data", data, "-o", out)
    assert code == 0
    assert f"{out.stat().st_size:,} bytes" in said
    assert out.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("settings", "subwords", "complaint"),
    [
        ({"source": "d@e"}, None, "the ticket's source language is 'd@e', which is none"),
        ({}, b"alpha 7\nbravo 5\n", "the ticket's subword model is damaged"),
    ],
)
def test_export_opens_the_ticket_before_it_gets_its_name(
    run: Run,
    ticket: Ticket,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    subwords: bytes | None,
    complaint: str,
) -> None:
    bad = with_settings(ticket, **settings)
    bad = replace(bad, assets={**bad.assets, **({"subwords": subwords} if subwords else {})})
    monkeypatch.setattr(export, "from_checkpoint", lambda *_: bad)
    before = file.read_bytes()
    code, said, complaints = run("export", "a.pt", "-o", file)
    assert (code, said, complaints.count("\n")) == (2, "", 1)
    assert complaints.startswith("error: a.pt: its ticket would be of no use: ")
    assert complaint in complaints
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before
    bad.save(file)
    code, said, complaints = run("verify", file)
    assert (code, said, complaints.count("\n")) == (2, "", 1)
    assert complaint in complaints


def test_info(run: Run, file: Path) -> None:
    code, said, _ = run("info", file)
    assert code == 0
    assert "encoder.layers.*.fc1" in said
    assert "times the entropy bound" in said
    assert f"the file: {file.stat().st_size:,} bytes" in said


def test_export_with_a_card(
    run: Run, ticket: Ticket, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "from_checkpoint", lambda *_: ticket)
    (tmp_path / "card.toml").write_text('name = "[b]toy[/b] :smile:"\nlicence = "MIT"\n')
    out, readme = tmp_path / "out.ticket", tmp_path / "README.md"
    assert run("export", "a.pt", "--card", tmp_path / "card.toml", "-o", out)[0] == 0
    code, said, _ = run("info", out)
    assert (code, said.splitlines()[:2]) == (0, ["name: [b]toy[/b] :smile:", "licence: MIT"])
    code, said, _ = run("info", out, "--model-card", readme)
    assert (code, said) == (0, f"{readme}: the model card of {out}\n")
    assert readme.read_text().startswith('---\nlicense: "mit"\n')
    readme.unlink()
    code, said, complaint = run("info", file, "--model-card", readme)
    assert (code, said) == (2, "")
    assert complaint == f"error: {file}: has no card: give it one with one-layer-lt export --card FILE\n"
    assert not readme.exists()


def test_export_reads_the_card_first(run: Run, tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("title = 'x'\n")
    code, said, complaint = run("export", "none.pt", "--card", tmp_path / "card.toml", "-o", tmp_path / "out")
    assert (code, said) == (2, "")
    assert complaint.startswith(
        f"error: {tmp_path / 'card.toml'}: the card has no field 'title': its fields are name, "
    )
    assert complaint.count("\n") == 1


class TestInTheBox:
    @pytest.fixture(autouse=True)
    def _box(self, ticket: Ticket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "box").mkdir()
        monkeypatch.setattr(box, "BOX", tmp_path / "box")
        monkeypatch.chdir(tmp_path)
        replace(ticket, card=marked_card()).save(tmp_path / "box" / "toy.xx-yy.ticket")
        scored = [{**CARD["scores"][0], "value": 41.5}]
        replace(ticket, card={**CARD, "scores": scored}).save(tmp_path / "box" / "m30k.ticket")

    def test_listed(self, run: Run, tmp_path: Path) -> None:
        code, said, _ = run("tickets")
        assert code == 0
        assert re.search(
            rf"m30k +. {(tmp_path / 'box' / 'm30k.ticket').stat().st_size:,} . 41.50 . name: m30k-de-en", said
        )
        assert "licence: CC BY-NC-SA 4.0" in said
        assert "name: <img src=x onerror=alert(1)> [b]x[/b]" in said
        assert ":smile:" in said

    def test_an_empty_one(self, run: Run, tmp_path: Path) -> None:
        for path in (tmp_path / "box").iterdir():
            path.unlink()
        assert run("tickets") == (0, "no tickets come with this package: make one with one-layer-lt export\n", "")

    def test_by_its_name(self, run: Run, ticket: Ticket, tmp_path: Path) -> None:
        code, said, _ = run("translate", "toy.xx-yy", stdin=b"Alpha.\n")
        assert (code, said.splitlines()) == (0, ticket.translate(["Alpha."]))
        code, said, _ = run("translate", "toy.xx-yy", "m30k", stdin=b"toy.xx-yy\tAlpha.\n")
        assert (code, said.splitlines()) == (0, ticket.translate(["Alpha."]))
        assert "name: m30k-de-en" in run("info", "m30k")[1]
        assert "m30k: good" in run("verify", "m30k")[1]
        assert run("convert", "m30k", "--to", "html", "-o", "page.html")[0] == 0
        assert 'data-name="m30k"' in (tmp_path / "page.html").read_text("utf-8")

    @pytest.mark.parametrize(
        "arguments", [["translate"], ["info"], ["verify"], ["convert", "--to", "html", "-o", "out"]]
    )
    def test_an_unknown_name(self, run: Run, arguments: list[str]) -> None:
        code, said, complaint = run(*arguments, "m40k")
        assert (code, said) == (2, "")
        assert complaint == "error: m40k: no such file, and no ticket of the package, which has m30k, toy.xx-yy\n"


def test_verify(run: Run, file: Path) -> None:
    code, said, _ = run("verify", file)
    assert code == 0
    assert "good" in said
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(raw)
    code, said, complaint = run("verify", file)
    assert (code, said) == (2, "")
    assert complaint.startswith(f"error: {file}: damaged")
    assert complaint.count("\n") == 1


def test_translate_keeps_lines_and_order(run: Run, file: Path, ticket: Ticket) -> None:
    lines = ["Alpha bravo.", "", "Charlie delta echo.", "Golf."]
    code, said, complaint = run("translate", file, stdin="\r\n".join(lines).encode())
    assert (code, complaint) == (0, "")
    assert said.split("\n")[:-1] == ticket.translate(lines)
    assert said.split("\n")[1] == ""


def test_translate_goes_on_by_fairseq_where_ctranslate2_cannot(
    run: Run, file: Path, ticket: Ticket, caplog: pytest.LogCaptureFixture
) -> None:
    changed = with_settings(ticket, activation_fn="tanh")
    changed.save(file)
    code, said, _ = run("translate", file, stdin=b"Golf.\n")
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["CTranslate2 cannot hold the activation tanh: fairseq translates, by --engine torch"]
    assert (code, said.splitlines()) == (0, changed.translator("torch").translate(["Golf."], Decoding()))
    code, said, complaint = run("translate", file, "--engine", "ctranslate2", stdin=b"Golf.\n")
    assert (code, said, complaint) == (2, "", "error: CTranslate2 cannot hold it: the activation tanh\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max-len-a", "1e308"], "--max-len-a must be a number from 0.0 to 1,000.0, not 1e+308"),
        (["--max-len-a", "nan"], "--max-len-a must be a number from 0.0 to 1,000.0, not nan"),
        (["--lenpen", "1e308"], "--lenpen must be a number from -10.0 to 10.0, not 1e+308"),
        (["--max-len-b", "-1"], "--max-len-b must be a whole number from 0 to 1,048,576, not -1"),
        (["--max-len-a", "0.1", "--max-len-b", "0"], "--max-len-a 0.1 and --max-len-b 0 leave short sentences no room"),
    ],
)
def test_translate_refuses_in_its_own_words(run: Run, file: Path, flags: list[str], said: str) -> None:
    code, out, complaint = run("translate", file, *flags, stdin=b"Alpha bravo.\n")
    assert (code, out, complaint.count("\n")) == (2, "", 1)
    assert complaint.startswith(f"error: {said}")


def test_translate_with_standard_input_closed(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "translate", str(file)])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit, match="2"):
        main()


class Endless(io.RawIOBase):
    """Zeros without end; more than a few of them must not be asked for."""

    asked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self.asked += len(buffer)
        assert self.asked < 1 << 22
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_an_endless_line_takes_bounded_memory(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", "translate", str(file)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capfd.readouterr().err == ("error: standard input: line 1 is longer than 1,048,576 bytes: break it up\n")


def test_chunks_end_by_lines_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a", "bb", "", "cccccc", "d", "e", "f"]
    monkeypatch.setattr(translate, "_CHUNK", 3)
    monkeypatch.setattr(translate, "_BYTES", 7)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    assert list(translate._chunks()) == [["a", "bb", ""], ["cccccc"], ["d", "e", "f"]]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert list(translate._chunks()) == []


def test_translate_by_several_tickets(run: Run, file: Path, ticket: Ticket, tmp_path: Path) -> None:
    other = tmp_path / "copy.ticket"
    ticket.save(other)
    code, said, _ = run("translate", file, other, stdin=b"\xef\xbb\xbfcopy\tAlpha bravo.\ntoy\tGolf.\ncopy\tEcho.\n")
    assert code == 0
    assert said.split("\n")[:-1] == ticket.translate(["Alpha bravo.", "Golf.", "Echo."])
    code, _, complaint = run("translate", file, other, stdin=b"toy\tGolf.\nGolf.\n")
    assert code == 2
    assert "line 2 must be NAME<tab>TEXT, NAME one of toy, copy" in complaint


def test_fold_of_ticket_and_checkpoint(run: Run, file: Path, checkpoint: Path, tmp_path: Path) -> None:
    for source, name in ((file, "a"), (checkpoint, "b")):
        code, said, _ = run("fold", source, "--to", "fairseq", "-o", tmp_path / name)
        assert code == 0
        assert "dict.xx.txt, dict.yy.txt, model.pt, spm.model" in said
    code, _, complaint = run("fold", file, "--to", "fairseq", "-o", tmp_path / "a")
    assert code == 2
    assert "already there" in complaint


def test_of_several_data_folders_the_first_is_taken(run: Run, data: Path, tmp_path: Path) -> None:
    """As fairseq-train takes them: `A:B`."""
    both = f"{data}{os.pathsep}{tmp_path}"
    dense = train(Path(both), tmp_path / "dense", *TICKET_RECIPE, "--dense", "--twin", updates=1)
    flags = ["--scores-from", str(dense), "--weight-scale-per-kind", "fc1=1"]
    masked = train(Path(both), tmp_path / "masked", *TICKET_RECIPE, *flags, updates=1)
    for number, given in enumerate(([], ["--data", both])):
        assert run("export", masked, *given, "-o", tmp_path / f"{number}.ticket")[0] == 0
    assert (tmp_path / "0.ticket").read_bytes() == (tmp_path / "1.ticket").read_bytes()
    code, said, _ = run("convert", masked, "--to", "fairseq", "-o", tmp_path / "folded")
    assert (code, "dict.xx.txt, dict.yy.txt, model.pt, spm.model" in said) == (0, True)
    distil.check(masked, data, Manifest.read(data).settings, surely=True)
    assert prune._model(dense)
    parser = Parser()
    score.add_arguments(parser)
    assert parser.parse_args([str(masked), "--data", both]).data == data


@pytest.mark.parametrize("lowercase", [False, True])
def test_fold_says_what_translates(run: Run, ticket: Ticket, tmp_path: Path, lowercase: bool) -> None:
    text = {**ticket.architecture["text"], "lowercase": lowercase}
    file, folder = tmp_path / "toy.ticket", tmp_path / "a folder"
    replace(ticket, architecture={**ticket.architecture, "text": text}).save(file)
    code, said, _ = run("fold", file, "--to", "fairseq", "-o", folder)
    assert code == 0
    what, _, command = said.splitlines()[1].partition(": ")
    assert what == ("to translate text, in lower case" if lowercase else "to translate text")
    if lowercase:
        return
    program, *arguments = shlex.split(command)
    assert program == "fairseq-interactive"
    done = subprocess.run(
        [sys.executable, "-m", "fairseq_cli.interactive", *arguments, "--cpu", "--max-len-b", "200"],
        cwd=tmp_path,  # where there is no plugin
        input="Alpha bravo.\nGolf.\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    detokenised = re.findall(r"^D-\d+\t\S+\t(.*)$", done.stdout, re.MULTILINE)
    assert detokenised == ticket.translator("torch").translate(["Alpha bravo.", "Golf."], Decoding())


def test_how_to_translate_text_of_moses(ticket: Ticket) -> None:
    text = {"tokenizer": "moses-bpe", "lowercase": True, "aggressive": False}
    moses = replace(ticket, architecture={**ticket.architecture, "text": text})
    said = how_to_translate(moses, Path("x"))
    assert said.startswith("to translate text that Moses' tokenizer has split, in lower case: fairseq-interactive x ")
    assert said.endswith(" --bpe subword_nmt --bpe-codes x/codes")
    bare = replace(ticket, architecture={**ticket.architecture, "text": None})
    assert how_to_translate(bare, Path("x")).endswith(
        "subwords: fairseq-interactive x --path x/model.pt --source-lang xx --target-lang yy"
    )


def test_without_a_command_it_prints_its_help(run: Run) -> None:
    code, said, complaint = run()
    assert (code, complaint) == (0, "")
    assert said.count("\n") > 10
    assert "\n  translate   translate standard input" in said
    assert (code, said, complaint) == run("--help") == run("-h")


def test_version_is_that_of_the_package(run: Run) -> None:
    code, said, _ = run("--version")
    assert code == 0
    assert said.split()[-1] == one_layer_lt.__version__
    setup = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert setup.stdout.split()[-1] == one_layer_lt.__version__


def test_options_of_the_model_are_listed(run: Run) -> None:
    code, said, _ = run("options")
    assert code == 0
    own, _, others = said.partition("Of fairseq's Transformer:")
    assert re.search(r"^--mask-rule \[edge_popup\] +how scores become a mask", own, re.MULTILINE)
    assert "--encoder-layers [6]" in others
    code, said, _ = run("options", "--markdown")
    assert code == 0
    assert "\n| `--mask-rule` | `edge_popup` | how scores become a mask: edge_popup, " in said


@pytest.mark.parametrize("package", ["fairseq_plugins", "data_prep"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_folder_of_ones_own_that_hides_the_package_is_named(
    package: str, kind: str, file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / package if kind == "folder" else tmp_path / f"{package}.py"
    if kind == "folder":
        mine.mkdir()
        (mine / "__init__.py").touch()
    else:
        mine.touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for arguments in (
        ["translate", str(file), "--engine", "torch"],
        ["export", "x.pt", "--data", "y", "-o", "z"],
        ["options"],
    ):
        command = [sys.executable, "-m", "one_layer_lt", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, input="Golf.\n", capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert f"{mine} hides this project's own {package}: rename it, or run this in another folder" in done.stderr


def test_a_folder_that_is_no_package_is_in_nobody_s_way(file: Path, tmp_path: Path, ticket: Ticket) -> None:
    (tmp_path / "data_prep").mkdir()
    command = [sys.executable, "-m", "one_layer_lt", "translate", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input="Golf.\n", capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ticket.translate(["Golf."])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["info", "none.ticket"], "none.ticket: No such file or directory"),
        (["info", __file__], "not a whole safetensors file"),
        (["translate", "FILE", "--beam", "0"], "argument --beam: 0 is not a whole number above 0"),
        (["translate", "FILE", "--engine", "onnx"], "invalid choice: 'onnx' (choose from "),
        (
            ["translate", "FILE", "--engine", "torch", "--quantization", "int8"],
            "--quantization needs --engine ctranslate2",
        ),
        (["translate", "FILE", "FILE"], "two tickets are called toy"),
        (["fold", "FILE", "--to", "ctranslate2", "-o", "out", "--quantization", "int3"], "unknown quantization 'int3'"),
        (["export", "none.pt", "--data", ".", "-o", "out"], "none.pt: no such checkpoint"),
        (["export", "none.pt"], "the following arguments are required: -o/--out"),
    ],
)
def test_bad_input_gets_one_line(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, said, complaints = run(*(str(file) if word == "FILE" else word for word in arguments), stdin=b"Golf.\n")
    assert (code, said) == (2, "")
    assert complaint in complaints
    assert complaints.startswith("error: ")
    assert complaints.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_line_that_is_not_text(run: Run, file: Path) -> None:
    code, _, complaint = run("translate", file, stdin=b"Golf.\n\xff\xfe\n")
    assert code == 2
    assert "line 2 is not UTF-8" in complaint
