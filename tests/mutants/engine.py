"""Mutants: a module's source with one small change each."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

_PAIRS = [(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)]
_PAIRS += [
    (ast.And, ast.Or),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.LShift, ast.RShift),
    (ast.BitOr, ast.BitAnd),
]
_OTHER: dict[type, type] = {one: other for a, b in _PAIRS for one, other in ((a, b), (b, a))}
_OTHER |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitXor: ast.BitOr}
_NO_CODE = {"annotation", "returns"}


@dataclass(frozen=True)
class Mutant:
    """One change. number: its place among those of its source. line: from 1; text: of that line, without its comment.

    text and change name it within its module, also where lines were added above.
    """

    number: int
    line: int
    last_line: int
    text: str
    change: str


@dataclass(frozen=True)
class _Site:
    """A node, what is put in its place, and where that is."""

    node: ast.AST
    new: ast.AST
    parent: ast.AST
    field: str
    at: Optional[int]

    def put(self) -> None:
        ast.copy_location(self.new, self.node)
        if self.at is None:
            setattr(self.parent, self.field, self.new)
        else:
            getattr(self.parent, self.field)[self.at] = self.new


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    lines = source.splitlines()
    found: list[Mutant] = []
    alike: Counter[tuple[str, str]] = Counter()
    for number, site in enumerate(_sites(ast.parse(source))):
        node: Any = site.node
        text = lines[node.lineno - 1].partition("  # ")[0].strip()
        change = " -> ".join(" ".join(ast.unparse(part).split()) for part in (node, site.new))
        alike[text, change] += 1
        times = alike[text, change]
        change += f" ({times})" if times > 1 else ""
        found.append(Mutant(number, node.lineno, node.end_lineno, text, change))
    return found


def mutated(source: str, number: int) -> ast.Module:
    """The mutant of that number."""
    tree = ast.parse(source)
    list(_sites(tree))[number].put()
    return ast.fix_missing_locations(tree)


def _sites(parent: ast.AST) -> Iterator[_Site]:
    for field, value in ast.iter_fields(parent):
        for at, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or field in _NO_CODE:
                continue
            new = [*_conditions(parent, field), *_changes(node)]
            for each in new if hasattr(node, "lineno") else ():
                yield _Site(node, each, parent, field, at)
            if not isinstance(node, (ast.Raise, ast.JoinedStr)) and not _is_text(node):
                yield from _sites(node)


def _conditions(parent: ast.AST, field: str) -> list[ast.AST]:
    if field == "test" and isinstance(parent, (ast.If, ast.IfExp, ast.While)):
        return [ast.Constant(True), ast.Constant(False)]
    return [ast.Constant(True)] if field == "ifs" else []


def _changes(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            new = copy.copy(node)
            new.ops = [*node.ops[:at], _OTHER[type(op)](), *node.ops[at + 1 :]]
            yield new
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _OTHER:
        new = copy.copy(node)
        new.op = _OTHER[type(node.op)]()
        yield new
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from map(ast.Constant, _constants(node.value))
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()
    elif (
        isinstance(node, ast.Return)
        and node.value
        and not (isinstance(node.value, ast.Constant) and not node.value.value)
    ):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()


def _constants(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
    elif isinstance(value, str) and " " not in value.strip():  # others are for people
        yield value + "XX"


def _is_text(node: Any) -> bool:
    """Whether it is a docstring, a string for itself, or the list of a module's public names."""
    names = [getattr(target, "id", "") for target in node.targets] if isinstance(node, ast.Assign) else []
    return names == ["__all__"] or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
