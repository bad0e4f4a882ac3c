"""The size rules of CONTRIBUTING.md: a function fits on a screen, a module has one subject, a room few files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("node", "consensus", "ledger", "qscore", "contracts")
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600
ROOM_FILES_MAX = 20
ROOMS = sorted({path.parent for path in (ROOT / "node").rglob("*.py")})
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_small(module: Path) -> None:
    source = module.read_text()
    assert source.count("\n") <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{module.name}: {node.name}"


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_are_small_and_say_what_they_are_for(room: Path) -> None:
    files = sorted(path.name for path in room.glob("*.py"))
    assert len(files) <= ROOM_FILES_MAX, f"{room.name} has {len(files)} files: which of them are a room of their own?"
    face = ast.parse((room / "__init__.py").read_text())
    assert ast.get_docstring(face), f"{room.name}/__init__.py does not say what the room is for"
