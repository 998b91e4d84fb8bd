"""Every command that a page or a help text shows is one that its program takes; nothing is run.

A word of capitals stands for the reader's own, and `...` for what is left out. Not looked into: what follows
scripts/test.sh (pytest's) and scripts/multi30k.sh (names of runs).
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest
from fairseq import options
from torch.distributed.run import get_args_parser

from one_layer_lt.cli import COMMANDS, call
from scripts.study import chosen, read_study

from .shell import ROOT, commands, shown

MAINS = {name: f"{name}.__main__" for name in ("tests.faults", "tests.hostile", "tests.mutants")}
RECIPES = {"scripts/quickstart.sh": "scripts.quickstart"}
# What else starts a subcommand of one-layer-lt, and which ("": the first argument says).
STARTS = {"one_layer_lt": "", "one_layer_lt.vision": "vision", "scripts.score": "score"}
PASSING = {"launch": "fairseq-train", "train": "fairseq-train", "prune": "fairseq-train", "score": "fairseq-generate"}
PARSERS = {
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": options.get_interactive_generation_parser,
}
OWN = re.compile(r"(?:scripts|data_prep|fairseq_plugins|one_layer_lt|docs|tests)(?:/[\w./-]+)?")
SHOWN = list(dict.fromkeys(shown()))


class Parsed(Exception):
    """The program has understood its arguments, and would begin."""


@pytest.fixture(autouse=True)
def _dry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs end once their arguments are read."""
    read = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        raise Parsed(read(parser, *arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.chdir(ROOT)


def check(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where the program would not take the arguments, or a file of the repository is missing."""
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    for word in words:
        assert not OWN.fullmatch(word) or (ROOT / word).exists(), f"no such file: {word}"
    stand_in = {"$(one-layer-lt plugin-dir)": "fairseq_plugins"}
    words = ["0" if re.fullmatch("[A-Z]", word) else stand_in.get(word, word) for word in words]
    program, *arguments = words
    if program == "bash":
        check_recipe(arguments, monkeypatch)
    elif program == "one-layer-lt":
        check_subcommand(arguments)
    elif program in PARSERS:
        check_fairseq(program, arguments)
    elif program == "torchrun":
        check_torchrun(arguments, monkeypatch)
    elif program == "python":
        check_python(arguments, monkeypatch)
    else:
        assert program in ("source", "echo"), f"unknown program: {program}"


def check_recipe(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    script, *rest = arguments
    assert (ROOT / script).is_file()
    if script.startswith("data_prep/"):
        check_main(f"data_prep.{Path(script).stem}", rest, monkeypatch)
    elif script == "scripts/score.sh":
        check_subcommand(["score", *rest])
    elif script in RECIPES:
        check_main(RECIPES[script], rest, monkeypatch)


def check_python(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if arguments[0] == "-c":
        compile(arguments[1], "shown", "exec")
        return
    if arguments[0] == "-m":
        module, *rest = arguments[1:]
    else:
        assert OWN.fullmatch(arguments[0])
        module, rest = arguments[0].removesuffix(".py").replace("/", "."), arguments[1:]
    if module in STARTS:
        check_subcommand([STARTS[module], *rest] if STARTS[module] else rest)
    else:
        check_main(module, rest, monkeypatch)


def check_torchrun(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Parsed) as parsed:
        get_args_parser().parse_args(arguments)
    (args,) = parsed.value.args
    script = args.training_script.removeprefix("$(command -v ").rstrip(")")
    start = ["python", "-m", script] if args.module else [script]
    check([*start, *args.training_script_args], monkeypatch)


def check_main(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a script, by its own ``main``; what follows a lone `--` is fairseq-train's."""
    main = import_module(MAINS.get(module, module)).main
    if not arguments:
        return  # the script is named, not shown in use
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    try:
        main()
    except Parsed as parsed:
        (args,) = parsed.args
        if module == "scripts.sweep" and args.study.is_file():
            chosen(read_study(args.study), args.runs)
    except SystemExit as ended:
        if ended.code or "--help" not in arguments:
            pytest.fail(f"{module} refuses {shlex.join(arguments)}")
    passed = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    if passed:
        check_fairseq("fairseq-train", passed)


def check_subcommand(arguments: list[str]) -> None:
    """Of one-layer-lt; what follows a lone `--` is another program's."""
    if len(arguments) < 2:
        assert not arguments or arguments[0] in COMMANDS or arguments[0].startswith("-")
        return  # it is named, not shown in use
    try:
        call(arguments)
    except Parsed as parsed:
        (args,) = parsed.args
        if passed := getattr(args, "passed", None):
            check_fairseq(PASSING[arguments[0]], passed)
    except SystemExit as ended:
        if ended.code or "--help" not in arguments:
            pytest.fail(f"one-layer-lt refuses {shlex.join(arguments)}")


def check_fairseq(program: str, arguments: list[str]) -> None:
    left_out = any(word.endswith("...") for word in arguments)
    if "..." in arguments:
        at = arguments.index("...")
        arguments = [*arguments[: at - arguments[at - 1].startswith("--")], *arguments[at + 1 :]]
    if not arguments or arguments[0].startswith("-"):
        assert left_out, "no data"
        arguments = ["DATA", *arguments]
    if left_out and program == "fairseq-train" and "--arch" not in arguments:
        arguments = [*arguments, "--arch", "one_layer_masked", "--user-dir", "fairseq_plugins"]
    try:  # not by parse_args, which ends here
        args, unknown = options.parse_args_and_arch(PARSERS[program](), arguments, parse_known=True)
    except SystemExit:
        pytest.fail(f"{program} refuses {shlex.join(arguments)}")
    assert not unknown
    if left_out:
        return
    if program == "fairseq-train":
        assert args.max_tokens or args.batch_size, "fairseq says: Must specify batch size"
        assert args.optimizer, "fairseq says: optimizer is required!"
    if program == "fairseq-interactive":
        assert args.source_lang, "the folder may hold no data that tells the languages"


@pytest.mark.parametrize(("file", "command"), SHOWN, ids=[f"{file}: {command[:70]}" for file, command in SHOWN])
def test_a_command_that_is_shown_is_one_that_works(file: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(shlex.split(command), monkeypatch)


@pytest.mark.parametrize(
    "command",
    [
        "fairseq-train data-bin/numbers.en-de --user-dir fairseq_plugins --arch one_layer_masked",
        "fairseq-train DATA --user-dir fairseq_plugins --arch one_layer_masked --keeps 1 ...",
        "fairseq-interactive OUT --path OUT/model.pt",
        "python scripts/no_such.py",
        "python scripts/score.py runs/x --datas data-bin/x",
        "python scripts/sweep.py scripts/studies/ablation.toml 'no such run'",
        "python scripts/flips.py out.json -- DATA --archs one_layer_masked ...",
        "bash data_prep/numbers.sh --pairs many",
        "one-layer-lt convert x.ticket --to onnx -o out",
        "one-layer-lt launch --processes 2 -- DATA --archs one_layer_masked ...",
        "one-layer-lt unfold x.ticket",
        "torchrun --nproc-per-node 2 -m one_layer_lt.vision train --recipes digits",
        "sudo bash scripts/quickstart.sh",
    ],
)
def test_one_that_does_not_work_is_found(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaseException) as failure:  # noqa: PT011
        check(shlex.split(command), monkeypatch)
    assert not isinstance(failure.value, (Parsed, KeyboardInterrupt))


def test_commands_of_a_text() -> None:
    text = "# first\nA=1 one 'a b' \\\n    --flag  # why, isn't it\necho x | two && three\n"
    assert list(commands(text)) == ["A=1 one 'a b' --flag", "echo x", "two", "three"]
