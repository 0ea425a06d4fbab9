"""The report: a database of the old service, read in one snapshot and left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine, text

from migrations.adoption.wounds import KINDS, QUERIES
from migrations.revisions import current_revision, head_revision

WORST_SHOWN: Final = 5
"""How many of a kind are shown one by one, the largest first; all are counted."""

TABLES: Final = (
    "credits.balances",
    "credits.transactions",
    "credits.purchases",
    "credits.reservations",
    "credits.sync_subscriptions",
    "credits.usage_stats",
    "gifts.gift_codes",
    "gifts.gift_redemptions",
)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One wound.  `size` is in credits, or in days where its kind says so."""

    subject: str
    what: str
    size: int


class Wound(msgspec.Struct, frozen=True, kw_only=True):
    """All wounds of a kind: how many, how large in all, and the worst."""

    kind: str
    says: str
    becomes: str
    count: int
    size: int
    sized_in: str
    worst: list[Case]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.  Amounts in credits."""

    revision: str | None
    brought_to: str
    rows: dict[str, int]
    balances: int
    """What all people have together."""
    set_aside: int
    opening_entries: int
    """How many adopting writes: one for each person whose books need one."""
    in_the_way: list[str]
    """Views over tables whose columns change; they have to be dropped before, and made again after."""
    wounds: list[Wound]


_COUNTED: Final = """
    SELECT kind, count(*), sum(size)::bigint,
           json_agg(json_build_object('subject', subject, 'what', what, 'size', size) ORDER BY place)
               FILTER (WHERE place <= {worst})
    FROM (
        SELECT *, row_number() OVER (PARTITION BY kind ORDER BY abs(size) DESC, subject) AS place FROM ({query}) found
    ) placed
    GROUP BY kind
"""

_IN_THE_WAY: Final = """
    SELECT DISTINCT format('%s.%s', v.relnamespace::regnamespace, v.relname)
    FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_class v ON v.oid = r.ev_class
    JOIN pg_class t ON t.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
    WHERE t.relnamespace::regnamespace::text IN ('credits', 'gifts') AND v.oid <> t.oid AND d.refobjsubid > 0
    ORDER BY 1
"""

# Somebody needs an opening entry whose figures differ from their entries', or who is below zero.
_OPENING: Final = """
    SELECT count(*) FROM credits.balances b
    FULL JOIN (
        SELECT user_id, sum(amount::bigint) AS amount,
               sum(amount::bigint) FILTER (WHERE amount > 0 AND type IN ('purchase', 'grant', 'gift')) AS earned,
               -sum(amount::bigint) FILTER (WHERE amount < 0) AS spent
        FROM credits.transactions GROUP BY user_id
    ) e USING (user_id)
    FULL JOIN (
        SELECT user_id, sum(amount::bigint) AS amount FROM credits.reservations
        WHERE status = 'reserved' GROUP BY user_id
    ) r USING (user_id)
    WHERE b.balance < 0
       OR (coalesce(b.balance::bigint, 0) + coalesce(r.amount, 0), coalesce(b.total_earned, 0),
           coalesce(b.total_spent, 0))
          <> (coalesce(e.amount, 0), coalesce(e.earned, 0), coalesce(e.spent, 0))
"""


def read(engine: Engine, told: Callable[[str], object] = lambda _: None) -> Report:
    """Read a database of the old service; `told` hears what is being read.

    One snapshot, nothing is locked and nothing written: the old service may run meanwhile.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("SET LOCAL work_mem = '64MB'"))
        told("tables")
        rows = {table: _number(connection, f"SELECT count(*) FROM {table}") for table in TABLES}
        found: dict[str, tuple[int, int, list[Case]]] = {}
        for name, query in QUERIES.items():
            told(name)
            found |= _counted(connection, query)
        report = Report(
            revision=current_revision(connection),
            brought_to=head_revision(),
            rows=rows,
            balances=_number(connection, "SELECT coalesce(sum(balance), 0) FROM credits.balances"),
            set_aside=_number(
                connection,
                "SELECT coalesce(sum(amount), 0) FROM credits.reservations WHERE status = 'reserved'",
            ),
            opening_entries=_number(connection, _OPENING),
            in_the_way=[row[0] for row in connection.exec_driver_sql(_IN_THE_WAY.replace("%", "%%"))],
            wounds=[_wound(kind.name, found) for kind in KINDS],
        )
        connection.rollback()
    return report


def _counted(connection: Connection, query: str) -> dict[str, tuple[int, int, list[Case]]]:
    rows = connection.exec_driver_sql(_COUNTED.format(worst=WORST_SHOWN, query=query.replace("%", "%%")))
    return {kind: (count, size, msgspec.convert(worst, list[Case])) for kind, count, size, worst in rows}


def _number(connection: Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query).scalar_one())


def _wound(name: str, found: dict[str, tuple[int, int, list[Case]]]) -> Wound:
    [kind] = [kind for kind in KINDS if kind.name == name]
    count, size, worst = found.get(name, (0, 0, []))
    return Wound(
        kind=name,
        says=kind.says,
        becomes=kind.becomes,
        count=count,
        size=size,
        sized_in=kind.sized_in,
        worst=worst,
    )
