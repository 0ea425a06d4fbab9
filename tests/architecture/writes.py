"""Finds what writes to tables of the ledger: statements in SQL, and SQLAlchemy's."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.source import strings_of

TABLES = {"balances": "balances", "transactions": "entries"}
"""The tables that only the ledger may write, and what Python calls them."""

_SQL = re.compile(
    r"\b(insert\s+into|update(?:\s+only)?|delete\s+from|truncate(?:\s+table)?|merge\s+into|copy|alter\s+table)"
    rf"\s+\"?credits\"?\s*\.\s*\"?({'|'.join(TABLES)})\b",
    re.IGNORECASE,
)
_WRITERS = ("insert", "update", "delete")


def writes_in_sql(text: str) -> Iterator[str]:
    """Statements that write."""
    for found in _SQL.finditer(text):
        yield " ".join(found[0].split())


def writes_in_python(tree: ast.AST) -> Iterator[str]:
    """The same in string constants, and calls such as `update(balances)` and `balances.insert()`."""
    for text in strings_of(tree):
        yield from writes_in_sql(text)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in _WRITERS and _is_a_table(called.value):
            yield ast.unparse(called)
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in _WRITERS and node.args and _is_a_table(node.args[0]):
            yield ast.unparse(node)


def _is_a_table(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in TABLES.values()
