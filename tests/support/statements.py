"""The statements that PostgreSQL was really sent, with the plans it ran them by: auto_explain's lines in its log.

Statements inside functions are among them, which is what this is for: nothing here holds their texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.support.books import SCHEMAS

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_verbose": "on",
    # One shape for every join, however many rows there are: what restricts it is then a condition of the scan.
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

_ENTRY = re.compile(
    r"^\S+ \S+ \S+ \[\d+\] \S*@(?P<database>\S+) LOG:  duration: \S+ ms  plan:\n(?P<plan>(?:\t.*\n)+)",
    re.MULTILINE,
)
"""An entry of the log, as devkit/cluster.py has its lines begin; further lines are indented by a tab."""

_CONDITIONS = ("Index Cond", "Recheck Cond", "Filter")


@dataclass(frozen=True)
class Scan:
    """One reading of a table in a statement's plan, and the conditions that its rows had to meet, all of them."""

    table: str
    conditions: tuple[str, ...]

    def is_restricted_by(self, column: str) -> bool:
        """Whether only rows with given values of the column were asked for."""
        equals = re.compile(rf"\(*(\w+\.)?{column} = ")
        # What is said of alternatives or of the contrary restricts nothing, and does not begin so, or has an OR.
        return any(equals.match(one) and " OR " not in one for one in self.conditions)


def conjuncts(condition: str) -> Iterator[str]:
    """The parts of `((a = 1) AND (b = 2))`, as PostgreSQL writes it; one condition is its own part."""
    if not (condition.startswith("((") and condition.endswith("))")):
        yield condition
        return
    inner, depth, began = condition[1:-1], 0, 0
    for place, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and inner.startswith(" AND ", place):
            yield inner[began:place]
            began = place + len(" AND ")
    yield inner[began:]


@dataclass(frozen=True)
class Statement:
    """One statement, by itself or inside a function."""

    text: str
    plan: dict[str, Any]

    @property
    def scans(self) -> list[Scan]:
        """What it read of our tables."""
        return [
            Scan(
                f"{node['Schema']}.{node['Relation Name']}",
                tuple(part for key in _CONDITIONS if key in node for part in conjuncts(node[key])),
            )
            for node in _nodes(self.plan)
            if node["Node Type"] != "ModifyTable" and "Relation Name" in node and node["Schema"] in SCHEMAS
        ]

    @property
    def writes(self) -> list[str]:
        """The tables that it wrote, each with what was done."""
        return [
            f"{node['Operation']} {node['Schema']}.{node['Relation Name']}"
            for node in _nodes(self.plan)
            if node["Node Type"] == "ModifyTable"
        ]


@dataclass
class Statements:
    """What a database is sent from now on.  Connections that are open already are not among those who send."""

    log: Path
    database: str
    _from: int = field(default=0, init=False)

    @classmethod
    def of(cls, database_url: str, log: Path) -> Statements:
        """Have new connections to the database tell; `log` is what its server writes."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            database = connection.info.dbname
            for name, value in SETTINGS.items():
                connection.execute(
                    sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                        sql.Identifier(database), sql.Identifier(*name.split(".")), sql.Literal(value)
                    )
                )
        return cls(log, database)

    @contextmanager
    def sent(self) -> Iterator[list[Statement]]:
        """A list that has, after the block, what was sent during it: a line is written before its answer is."""
        found: list[Statement] = []
        began = self.log.stat().st_size
        yield found
        with self.log.open("rb") as log:
            log.seek(began)
            text = log.read().decode(errors="replace")
        for entry in _ENTRY.finditer(text):
            if entry["database"] == self.database:
                told = json.loads(entry["plan"])
                found.append(Statement(told["Query Text"], told["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
