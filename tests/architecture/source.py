"""The tree as text and as syntax, for tests of what no linter says."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("domain", "web", "workers", "scheduler", "nudges", "processes", "simulators", "devkit", "migrations")
SERVICE = ("domain", "web", "workers", "scheduler", "nudges", "processes")


def python_files(*rooms: str) -> Iterator[Path]:
    """The Python files of rooms, as paths from the top; `dev` is one, of no room."""
    for room in rooms:
        yield from (path.relative_to(ROOT) for path in sorted((ROOT / room).rglob("*.py")))


def text_of(path: Path) -> str:
    """The text of a file, by its path from the top."""
    return (ROOT / path).read_text("utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax of a file, by its path from the top."""
    return ast.parse(text_of(path))


def strings_of(tree: ast.AST) -> Iterator[str]:
    """Every string constant, those of f-strings too, without docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, methods and inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def imported_by(tree: ast.AST) -> set[str]:
    """The top-level packages that are imported, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def committed_files() -> list[Path]:
    """What git keeps, as paths from the top."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [Path(name) for name in listed if name and (ROOT / name).is_file()]
