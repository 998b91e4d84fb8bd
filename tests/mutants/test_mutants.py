"""What changes are made to a source, and that a mutant which no test notices is told from one that a test does."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import __main__ as program
from tests.mutants.engine import mutants, mutated

ROOT = Path(__file__).parents[2]

SOURCE = '''
"""A docstring."""

def clipped(x: "int", most: int = 7) -> "int":
    """Another."""
    if x < 0:  # a comment
        raise ValueError(f"{x} is below {0}")
    note("many words")
    return min(x, most)
'''

CHANGES = [
    ('def clipped(x: "int", most: int = 7) -> "int":', "7 -> 8"),
    ("if x < 0:", "x < 0 -> True"),
    ("if x < 0:", "x < 0 -> False"),
    ("if x < 0:", "x < 0 -> x <= 0"),
    ("if x < 0:", "0 -> 1"),
    ('raise ValueError(f"{x} is below {0}")', "raise ValueError(f'{x} is below {0}') -> pass"),
    ('note("many words")', "note('many words') -> pass"),
    ("return min(x, most)", "return min(x, most) -> return None"),
]


def test_every_small_change_is_made() -> None:
    assert [(mutant.text, mutant.change) for mutant in mutants(SOURCE)] == CHANGES


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a + b * c", ["a + b * c -> a - b * c", "b * c -> b / c"]),
        ("a and not b", ["a and (not b) -> a or not b", "not b -> b"]),
        ("x = 1 if y else 0.5", ["y -> True", "y -> False", "1 -> 2", "0.5 -> 1.5"]),
        ("x = [a for a in b if a == 'c']", ["a == 'c' -> True", "a == 'c' -> a != 'c'", "'c' -> 'cXX'"]),
        ("x -= True", ["x -= True -> x += True", "True -> False"]),
        ("for x in y:\n    break", ["break -> continue"]),
        ("1 + 1", ["1 + 1 -> 1 - 1", "1 -> 2", "1 -> 2 (2)"]),  # alike, and yet told apart
        ("from a import b\nx: int\nf'{a + 1}'\n__all__ = ['b']", []),
    ],
)
def test_changes(source: str, changes: list[str]) -> None:
    assert [mutant.change for mutant in mutants(source)] == changes


def test_a_mutant_is_the_source_with_one_change() -> None:
    number = [mutant.change for mutant in mutants(SOURCE)].index("x < 0 -> x <= 0")
    assert ast.unparse(mutated(SOURCE, number)) == ast.unparse(ast.parse(SOURCE)).replace("x < 0", "x <= 0")


TRY = """
import sys
from pathlib import Path
from tests.mutants import bench
from tests.mutants.engine import mutants, mutated

bench.ROOT = Path.cwd()
sys.path.insert(0, "")
module = Path.cwd() / "toy_module.py"
source = module.read_text()
changes = [mutant.change for mutant in mutants(source)]
for change, seconds in (("x * 2 -> x / 2", 60), ("9 -> 10", 60), ("x > END -> True", 1)):
    print(*bench.tried(module, mutated(source, changes.index(change)), ["test_toy.py::test_it"], seconds))
"""


def test_killed_and_survived(tmp_path: Path) -> None:
    """A module that doubles and knows an end, and a test that does not look at the end."""
    source = "END = 9\n\ndef double(x):\n    while x > END:\n        pass\n    return x * 2\n"
    (tmp_path / "toy_module.py").write_text(source)
    test = "from toy_module import double\n\ndef test_it():\n    assert double(3) == 6\n"
    (tmp_path / "test_toy.py").write_text(test)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRY]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["killed test_toy.py::test_it", "survived ", "out of time "]


def test_tests_that_reach_a_line_are_chosen() -> None:
    lines = [{"sharing.py": [3]}, {"sharing.py": [1]}, {"sharing.py": [1]}, {"weights.py": [1]}]
    names = ["core/test_a.py::a", "core/test_a.py::b", "core/test_sharing.py::c", "core/test_b.py::d"]
    tests = [{"test": name, "seconds": 1.0, "lines": some} for name, some in zip(names, lines)]
    first, second = mutants("x = 1\ny = 2")
    assert [test["test"][-1] for test in program.chosen("sharing.py", first, tests, 5)] == ["c", "b"]
    assert [test["test"][-1] for test in program.chosen("sharing.py", second, tests, 5)] == ["c", "a", "b"]  # on import
    assert [test["test"][-1] for test in program.chosen("sharing.py", second, tests, 2)] == ["c", "a"]
