"""Mutants on the bench: each in a process of its own, with the tests that reach its lines.

The processes are forked where torch and all else that the core takes are imported, and the core itself is not: whoever
imports the mutated module then, or a name of it, gets the mutant.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ("one_layer_lt", "fairseq_plugins", "data_prep", "scripts", "tests")
_EXAMPLES = 10  # of hypothesis
_MEMORY = 16 << 30
_PATIENCE = 20  # times the time of the processor that a process may take, by the clock
_OPTIONS = ["-q", "-x", "--tb=no", "--no-header", "--no-summary", "--assert=plain"]
_OPTIONS += [word for name in ("cacheprovider", "xdist", "hypothesispytest") for word in ("-p", f"no:{name}")]


def forked(work: Callable[[], Any], seconds: float) -> Any:
    """What ``work`` gives in a process of its own; None where it dies, an empty tuple where it runs out of time.

    Raises ``RuntimeError`` where ``work`` raises.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, theirs, int(seconds) + 1))
    process.start()
    theirs.close()
    try:
        if not ours.poll(_PATIENCE * seconds):
            return ()
        found, error = ours.recv()
        if error:
            raise RuntimeError(error)
        return found
    except EOFError:
        process.join()
        return () if process.exitcode == -signal.SIGXCPU else None
    finally:
        process.kill()
        process.join()


def _child(work: Callable[[], Any], pipe: Any, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    try:
        pipe.send((work(), ""))
    except Exception:
        pipe.send((None, traceback.format_exc()))
    pipe.close()
    os._exit(0)


def prepare(tests: list[Path]) -> None:
    """Import what the tests import, but for the project's own modules."""
    importlib.import_module("torch._dynamo")  # which optimisers import once they are made
    names = forked(lambda: (_pytest(["--collect-only", *map(str, tests)]), sorted(sys.modules))[1], 300)
    for name in names or ():
        if name.partition(".")[0] not in OWN and not name.startswith("__"):
            try:
                importlib.import_module(name)
            except Exception:  # a module of another name than its file's, or a test's own
                continue
    few = hypothesis.settings(max_examples=1, database=None)
    few(hypothesis.given(hypothesis.strategies.integers())(lambda _: None))()  # once for all it looks for constants
    gc.collect()
    gc.freeze()


class _Watch:
    """A plugin that runs some tests in an order, with few examples, and tells what came of it."""

    def __init__(self, wanted: Optional[list[str]] = None, most: float = 0) -> None:
        self.wanted, self.most, self.failed = wanted, most, ""
        self.reached: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.wanted is not None:
            place = {test: at for at, test in enumerate(self.wanted)}
            items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])
        for item in items:
            inner = getattr(getattr(item.function, "hypothesis", None), "inner_test", None)
            if inner is not None:
                given = item.function._hypothesis_internal_use_settings
                item.function._hypothesis_internal_use_settings = hypothesis.settings(
                    given,
                    max_examples=min(given.max_examples, _EXAMPLES),
                    derandomize=True,
                    database=None,
                    deadline=None,
                    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
                    suppress_health_check=list(hypothesis.HealthCheck),
                )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        if self.wanted is not None:
            return (yield)
        lines: dict[str, set[int]] = {}
        began = time.process_time()
        sys.settrace(_tracer(lines))
        try:
            return (yield)
        finally:
            sys.settrace(None)
            source = inspect.getsource(inspect.unwrap(item.function))
            self.reached[item.nodeid] = {
                "test": item.nodeid,
                "seconds": round(time.process_time() - began, 3),
                "digest": hashlib.sha256(source.encode()).hexdigest()[:12],
                "lines": {name: sorted(some) for name, some in lines.items()},
            }
            if sum(each["seconds"] for each in self.reached.values()) > self.most:
                item.session.shouldstop = "enough"

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed = report.nodeid if report.failed else self.failed


def _tracer(lines: dict[str, set[int]]) -> Any:
    home = f"{ROOT / 'one_layer_lt'}{os.sep}"

    def called(frame: types.FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if not (path.startswith(home) and frame.f_code.co_flags & inspect.CO_OPTIMIZED):  # a module's or class's own
            return None
        found = lines.setdefault(path[len(home) :], set())
        found.add(frame.f_lineno)

        def at(frame: types.FrameType, event: str, _: Any) -> Any:
            found.add(frame.f_lineno)
            return at

        return at

    return called


def _pytest(arguments: list[str], *plugins: Any) -> int:
    os.chdir(ROOT)
    return int(pytest.main([*_OPTIONS, *arguments], plugins=list(plugins)))


def reached(file: Path, most: float) -> list[dict[str, Any]]:
    """Of each test of a file: "test", its name; "seconds" that it takes; the "digest" of its source; and "lines".

    Those are by module, as paths within the package. Ends after ``most`` seconds, or where a test fails.
    """

    def work() -> list[dict[str, Any]]:
        watch = _Watch(most=most)
        _pytest([str(file)], watch)
        return [each for name, each in watch.reached.items() if name != watch.failed]

    return list(forked(work, 4 * most) or ())


def tried(path: Path, tree: ast.Module, tests: list[str], seconds: float) -> tuple[str, str]:
    """What came of a mutant of the module at ``path``, and the test that failed first.

    ``killed``, ``out of time`` or ``survived``; ``seconds``: the time that it has, of the processor.
    """

    def work() -> tuple[str, str]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        _replace(name.removesuffix(".__init__"), path, tree)
        watch = _Watch(wanted=tests)
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        return ("survived" if _pytest(list(files), watch) == 0 else "killed"), watch.failed

    found = forked(work, seconds) if tests else ("survived", "")
    return found or ("killed" if found is None else "out of time", "")


def _replace(name: str, path: Path, tree: ast.Module) -> None:
    """Let whoever imports the module from now on get the tree instead."""
    if name in sys.modules:
        raise RuntimeError(f"{name} is imported already")

    class Loader(importlib.machinery.SourceFileLoader):
        def get_code(self, _: str) -> types.CodeType:
            return compile(tree, str(path), "exec")

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, *_: Any) -> Optional[importlib.machinery.ModuleSpec]:
            if fullname != name:
                return None
            return importlib.util.spec_from_file_location(name, path, loader=Loader(name, str(path)))

    sys.meta_path.insert(0, Finder())
