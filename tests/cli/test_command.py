"""One command: its table, what it loads, and its plugin in another folder."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from one_layer_lt import cli
from one_layer_lt.errors import UserError
from one_layer_lt.progress import progress
from tests.plugin.running import train_arguments

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "fairseq", "sacrebleu", "numpy", "rich")
SUBCOMMANDS = ("launch", "compare", "vision")


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def loaded(*steps: str) -> list[list[str]]:
    """Which of the heavy packages are imported after each of these pieces of code, one after the other."""
    tell = f"print('>', *(name for name in {HEAVY} if name in sys.modules))"
    done = python("-c", "\n".join(["import sys", *(line for code in steps for line in (code, tell))]))
    assert done.returncode == 0, done.stderr
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith(">")]


def test_the_table_loads_nothing() -> None:
    told = loaded("from one_layer_lt import cli; cli.call(['--help'])")
    assert told == [["torch", "numpy"]]  # asked of the package
    subcommands = [f"from one_layer_lt.cli import subcommand; subcommand({name!r})" for name in SUBCOMMANDS]
    help_, launch, *others = loaded("from one_layer_lt.cli import call; call(['--help'])", *subcommands)
    assert help_ == launch == []
    assert len(others) == 2
    assert all("fairseq" not in names for names in others)


def test_the_package_has_its_names_all_the_same() -> None:
    anew = """
import sys
for name in list(sys.modules):
    if name.partition(".")[0] == "one_layer_lt":
        del sys.modules[name]
"""
    named = "sorted(it.__all__) == sorted(set(it.__all__) & set(dir(it)))"
    steps = [f"import one_layer_lt as it; print({named}, it.mask_)"]
    steps += ["from one_layer_lt import *; fold_, MaskConfig, __version__"]
    steps += [f"import one_layer_lt; one_layer_lt.{name}" for name in ("weights.draw", "no_such")]
    done = python("-c", anew.join(steps))
    assert done.stdout.startswith("True <function mask_")
    assert done.returncode == 1
    assert "has no attribute 'no_such'" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("AttributeError")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_subcommand_tells_what_it_does_by_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["one-layer-lt", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert said.startswith(f"usage: one-layer-lt {name} ")
    about = said.partition("\n\n")[2]
    assert re.search(rf"^[A-Z].*\n(.*\n)*\n *(\w.*)?one-layer-lt {name}\b", about)
    module = find_spec(cli.COMMANDS[name])
    assert module is not None
    assert module.origin is not None
    functions = {node.name for node in ast.parse(Path(module.origin).read_text()).body if hasattr(node, "name")}
    assert {"add_arguments", "run"} <= functions
    assert "main" not in functions


def test_a_name_that_is_not_known_is_one_line() -> None:
    for name, mend in (("scroe", "did you mean score?"), ("x", "one-layer-lt --help lists them")):
        done = python("-m", "one_layer_lt", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: one-layer-lt has no subcommand {name!r}: {mend}\n"


def test_a_name_of_before_is_understood() -> None:
    assert cli.subcommand("fold")[0] is cli.subcommand("convert")[0]
    assert "fold" not in cli.overview().split()


def test_the_script_that_stored_commands_name_is_a_subcommand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(ROOT / "scripts" / "score.py")
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: one-layer-lt score ")


def test_without_fairseq_a_subcommand_says_what_to_install() -> None:
    done = python("-m", "tests.support.without", "fairseq", "score", "--help")
    said = "error: fairseq is not installed: pip install 'one_layer_lt[fairseq]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    done = python("-m", "tests.support.without", "fairseq", "info", "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_options_of_before_and_those_of_another_program() -> None:
    _, parser = cli.subcommand("prune")
    given = ["--rounds", "1", "--rewind", "2", "--save-dir=x"]
    args = parser.parse_args([*given, "--", "--save-dir", "y", "--", "z"])
    assert (args.out, args.passed) == (Path("x"), ["--save-dir", "y", "--", "z"])
    assert parser.parse_args(given).passed == []
    _, parser = cli.subcommand("translate")
    assert parser.parse_args(["a.ticket", "--length-penalty", "2"]).lenpen == 2


@pytest.mark.parametrize("columns", ["60", "400"])
def test_the_usage_shows_the_arguments_of_another_program(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for name, shown in (
        ("launch", "-- ARGS"),
        ("prune", "-- ARGS"),
        ("train", "ARGS"),
        ("score", "[-- ARGS]"),
        ("info", "TICKET"),
    ):
        _, parser = cli.subcommand(name)
        usage, _, rest = parser.format_help().partition("\n\n")
        assert f"{usage}\n" == parser.format_usage()
        assert usage.endswith(f" {shown}")
        assert all(len(line) < int(columns) for line in usage.splitlines())
        assert "usage: " not in rest


def test_the_plugin_is_found_from_any_folder(corpus: Path, tmp_path: Path) -> None:
    done = python("-m", "one_layer_lt", "plugin-dir", cwd=tmp_path)
    folder = done.stdout.removesuffix("\n")
    assert Path(folder).samefile(ROOT / "fairseq_plugins")
    arguments = train_arguments(corpus, tmp_path / "run", updates=1)
    arguments[arguments.index("--user-dir") + 1] = folder
    before = "import sys, fairseq_plugins, fairseq_cli.train as it; sys.argv[0] = 'fairseq-train'; it.cli_main()"
    for start in (["-m", "fairseq_cli.train"], ["-c", before]):
        done = python(*start, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "checkpoint_last.pt").is_file()


def test_progress_is_silent_where_all_is_soon_done_or_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress("reading", 1000, done=10) as bar, progress("hidden", shown=False) as hidden:
        bar.update(5)
        assert capsys.readouterr().err == ""
        now = 31.0
        bar.note = "so far"
        bar.update()
        bar.update()
        hidden.update()
    assert (bar.n, hidden.n) == (17, 1)
    assert capsys.readouterr().err == "reading: 16 of 1,000 lines 1:24:44 left so far\n"  # 6 lines took 31 seconds
    with pytest.raises(UserError), progress("failing") as bar:
        raise UserError("it fails as it would without")
