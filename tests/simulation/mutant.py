"""What a mutant is, and when it counts as killed: each of its killers ran the broken code and failed an assertion.

An import error, an exception that nobody asserted, or a break that the killer never came to proves nothing: then the
mutant is said to live, and why.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import pytest

Killer = Callable[[], object]

FAILURES: Final = (AssertionError, pytest.fail.Exception)
"""How a checker, an assertion or `pytest.raises` says that something does not hold."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A production function with some of its text replaced."""

    function: Any
    replacements: tuple[tuple[str, str], ...]

    def compiled(self, note: Callable[[], None]) -> Any:
        """Returns the function as edited; it calls `note` before each statement that was."""
        source = textwrap.dedent(inspect.getsource(self.function))
        lines: list[int] = []
        for old, new in self.replacements:
            assert source.count(old) == 1, f"{self.function.__qualname__} has not one {old!r}"
            lines.append(source[: source.index(old)].count("\n") + 1)
            source = source.replace(old, new)
        tree = ast.parse("def make(note_edited):\n" + textwrap.indent(source, " "))
        make = tree.body[0]
        assert isinstance(make, ast.FunctionDef)
        for line in lines:
            _insert_note(make, line + 1)
        make.body.append(ast.Return(ast.Name(self.function.__name__, ast.Load())))
        names: dict[str, Any] = {}
        code = compile(ast.fix_missing_locations(tree), f"<edited {self.function.__qualname__}>", "exec")
        exec(code, self.function.__globals__, names)
        return names["make"](note)


def _insert_note(tree: ast.AST, line: int) -> None:
    """Has the innermost statement of a function's body that covers a line preceded by a call of `note_edited`."""
    found: list[tuple[list[ast.stmt], ast.stmt]] = []
    for node in ast.walk(tree):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(block, list):
                found += [(block, one) for one in block if one.lineno <= line <= (one.end_lineno or one.lineno)]
    block, innermost = max(found, key=lambda one: (one[1].lineno, -(one[1].end_lineno or 0)))
    assert not isinstance(innermost, ast.FunctionDef), "what is edited is a statement"
    block.insert(block.index(innermost), ast.parse("note_edited()").body[0])


def edited(owner: Any, name: str, *replacements: tuple[str, str]) -> tuple[Any, str, Edit]:
    """Returns a break: `name` of `owner` with each first text replaced by the second, which it has once."""
    function = inspect.getattr_static(owner, name)
    for wrapped in ("fget", "__func__"):  # of a property; of a static or class method
        function = getattr(function, wrapped, function)
    return owner, name, Edit(inspect.unwrap(function), replacements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One break."""

    name: str
    rule: str
    """As docs/protocol.md names it."""
    breaks: tuple[tuple[Any, str, Any], ...]
    """Owner, attribute and what it becomes: a function, an `Edit` of the one there is, or another value."""
    killers: tuple[Killer, ...]

    def lives_by(self) -> str | None:
        """Says why the break does not count as noticed by all killers; None if it does."""
        for killer in self.killers:
            reached: list[bool] = []
            with ExitStack() as stack:
                for owner, name, broken in self.breaks:
                    breaking = in_place(broken, lambda: reached.append(True))  # noqa: B023
                    stack.enter_context(patch.object(owner, name, breaking))
                fault = _fault(killer)
            if fault is None and not reached and any(map(_shows_that_it_runs, self.breaks)):
                fault = "the broken code was not reached"
            if fault is not None:
                return fault
        return None


def _shows_that_it_runs(broken: tuple[Any, str, Any]) -> bool:
    """Another number or table does not; that only it differs when the killer fails proves that it was used."""
    return isinstance(broken[2], Edit) or inspect.isfunction(broken[2])


def in_place(broken: Any, note: Callable[[], None]) -> Any:
    """Returns what takes a name's place; a function calls `note` when it runs."""
    if isinstance(broken, Edit):
        return broken.compiled(note)
    if not inspect.isfunction(broken):
        return broken

    @functools.wraps(broken)
    def noting(*arguments: Any, **named: Any) -> Any:
        note()
        return broken(*arguments, **named)

    return noting


def _fault(killer: Killer) -> str | None:
    """Runs a killer; says what was wrong with how it ended, None if it failed as it should."""
    try:
        killer()
    except FAILURES:
        return None
    except Exception as error:  # noqa: BLE001  (whatever it is, it is no assertion)
        return f"it ended by {type(error).__name__}: {error}"
    return "nothing noticed"
