"""Directed tests as killers: calls a test function of the unit tests, with its fixtures, outside of pytest's run."""

import asyncio
import functools
import inspect
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.mutant import Killer


@functools.cache
def directed(test: Callable[..., Any], **given: Any) -> Killer:
    """Returns a killer that calls a test, of a module or of a class in one, with some arguments given and the others
    from the fixtures of its module. The same call returns the same killer.
    """

    def killer() -> None:
        with ExitStack() as stack:
            outcome = _Fixtures(test, given, stack).call(test)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)

    return killer


class _Fixtures:
    """Values of one call: each fixture is made once, and ended in turn."""

    def __init__(self, test: Callable[..., Any], given: dict[str, Any], stack: ExitStack) -> None:
        self._stack = stack
        self._values = dict(given)
        self._scope: dict[str, Any] = dict(vars(sys.modules[test.__module__]))
        owner = test.__qualname__.rpartition(".")[0]
        if owner:
            made = self._values["self"] = self._scope[owner]()
            self._scope |= vars(type(made))

    def call(self, function: Callable[..., Any]) -> Any:
        return function(**{name: self._value(name) for name in inspect.signature(function).parameters})

    def _value(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = self._made(name)
        return self._values[name]

    def mktemp(self, _: str) -> Path:
        """As pytest's `tmp_path_factory`."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))

    def _made(self, name: str) -> Any:
        if name == "tmp_path":
            return self.mktemp("")
        if name == "tmp_path_factory":
            return self
        if name == "monkeypatch":
            return self._stack.enter_context(pytest.MonkeyPatch.context())
        made = self.call(inspect.unwrap(self._scope[name]))
        if not inspect.isgenerator(made):
            return made
        self._stack.callback(next, made, None)
        return next(made)
