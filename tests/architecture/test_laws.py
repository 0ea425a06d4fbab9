"""Laws of the house that no linter knows.  docs/architecture.md says why each holds."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.architecture.source import (
    ROOMS,
    ROOT,
    SERVICE,
    imported_by,
    python_files,
    strings_of,
    text_of,
    tree_of,
)
from tests.architecture.writes import writes_in_python, writes_in_sql

ERASES_PERSONAL_DATA = Path("domain/erasure.py")
"""May take personal data out of entries; the database lets nobody touch their amounts."""


def test_only_the_ledger_writes_balances_and_entries() -> None:
    found = [
        f"{path}: {write}"
        for path in python_files(*SERVICE, "simulators", "devkit")
        if path.parts[:2] != ("domain", "ledger") and path != ERASES_PERSONAL_DATA
        for write in writes_in_python(tree_of(path))
    ]
    for path in sorted(ROOT.rglob("domain/**/*.sql")):
        if path.parent != ROOT / "domain/ledger/sql":
            found += [f"{path}: {write}" for write in writes_in_sql(path.read_text("utf-8"))]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "connection.execute(update(balances).where(x))",
        "connection.execute(tables.entries.insert().values(x))",
        "connection.execute(sa.delete(tables.balances))",
        'text("""\n  INSERT INTO\n credits.balances (user_id)""")',
        'text(f"update credits.transactions set amount = {x}")',
        'text("DELETE FROM \\"credits\\".\\"balances\\"")',
    ],
)
def test_a_write_past_the_ledger_is_seen(line: str) -> None:
    assert list(writes_in_python(ast.parse(line)))


def test_the_ledger_itself_would_be_seen() -> None:
    """The scan looks where the writes are: without its exception it finds them."""
    assert list(writes_in_sql(text_of(Path("domain/ledger/sql/post.sql"))))
    assert list(writes_in_python(tree_of(Path("domain/ledger/read.py"))))


CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}
CLOCK_OWNERS = {"datetime", "date", "time"}
SQL_CLOCK = re.compile(
    r"\b(now\(\)|clock_timestamp\(|statement_timestamp\(|transaction_timestamp\(|current_(timestamp|date|time)\b)",
    re.IGNORECASE,
)
HAS_SERVER_DEFAULTS = Path("domain/tables.py")
"""`now()` is the default of columns there, for rows that other teams' scripts write."""


def _reads_the_clock(tree: ast.AST) -> list[str]:
    """Readings of the wall clock outside of `main`: how long something takes may be measured."""
    inside_main = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in ("main", "_main")
        for inner in ast.walk(node)
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCKS
        and isinstance(node.value, (ast.Name, ast.Attribute))
        and ast.unparse(node.value).split(".")[-1] in CLOCK_OWNERS
        and id(node) not in inside_main
    ]


def test_the_domain_never_reads_the_clock() -> None:
    found = [
        f"{path}: {reading}"
        for path in python_files("domain")
        if path.name != "__main__.py"
        for reading in _reads_the_clock(tree_of(path))
    ]
    found += [
        f"{path}: {text.strip()[:80]}"
        for path in python_files("domain")
        if path != HAS_SERVER_DEFAULTS
        for text in strings_of(tree_of(path))
        if SQL_CLOCK.search(text)
    ]
    found += [
        f"{path}" for path in (ROOT / "domain").rglob("*.sql") if SQL_CLOCK.search(path.read_text("utf-8"))
    ]
    assert not found


@pytest.mark.parametrize(
    "line", ["datetime.now(UTC)", "time.time()", "datetime.datetime.utcnow()", "date.today()"]
)
def test_a_reading_of_the_clock_is_seen(line: str) -> None:
    assert _reads_the_clock(ast.parse(line))
    assert not _reads_the_clock(ast.parse(f"def main():\n    {line}"))


COMMITS = {"commit", "rollback", "begin"}
FRAMES = {Path("domain/database.py"), Path("domain/jobs/run.py"), Path("domain/invariants.py")}
"""The frames of a request or command, of a job, and of a read-only look."""


def test_only_a_frame_begins_and_commits() -> None:
    found = [
        f"{path}: {ast.unparse(node)}"
        for path in python_files(*SERVICE)
        if path not in FRAMES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in COMMITS
        and ast.unparse(node.func.value).split(".")[-1].strip("_") == "connection"
    ]
    assert not found


def test_routes_hold_no_sql() -> None:
    """`Connection` is the type of what they hand on; /ready asks the database for its revision."""
    for path in python_files("web/routes"):
        names = {
            alias.name
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
            for alias in node.names
        }
        allowed = {"Connection", "text"} if path.name == "health.py" else {"Connection"}
        assert names <= allowed, path
        assert "domain.tables" not in text_of(path), path


def test_what_runs_before_the_install_imports_the_standard_library_alone() -> None:
    files = [*python_files("devkit"), Path("dev")]
    for path in files:
        foreign = imported_by(tree_of(path)) - sys.stdlib_module_names - {"devkit"}
        assert not foreign, f"{path} imports {foreign}"


def test_every_room_says_what_it_is() -> None:
    for room in ROOMS:
        assert ast.get_docstring(tree_of(Path(room) / "__init__.py")), room
