"""The steps of adopting, in order: what each does, each in a transaction of its own.

What is done is kept in the schema `adoption`, in the step's own transaction; so whoever is killed leaves
whole steps, and the next run goes on after the last.  The schema goes with the last step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from migrations.config import alembic_config, is_being_adopted
from migrations.to_ledger import COLUMNS, DOOR, GUARDS

LEDGER_REVISION: Final = "0002"
"""What the steps bring a database to; Alembic does what comes after."""

FENCED: Final = (
    "credits.balances",
    "credits.transactions",
    "credits.packages",
    "credits.purchases",
    "credits.stripe_customers",
    "credits.usage_stats",
    "credits.reservations",
    "credits.sync_subscriptions",
    "gifts.gift_codes",
    "gifts.gift_redemptions",
)

# Whoever still writes is refused, and told why: a row written behind a slice that is done would be lost.
_FENCE: Final = """
    CREATE SCHEMA adoption;
    CREATE TABLE adoption.steps (
        name text PRIMARY KEY,
        done_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE adoption.progress (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        after_user_id text,
        entries_done bigint NOT NULL DEFAULT 0,
        entries bigint NOT NULL
    );
    INSERT INTO adoption.progress (entries) SELECT count(*) FROM credits.transactions;
    CREATE FUNCTION adoption.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'this database is being adopted by the new service: nothing is written meanwhile'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END $$;
"""
_FENCED_TABLE: Final = """
    CREATE TRIGGER adoption_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT
    WHEN (current_setting('adoption.running', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION adoption.refuse_write()
"""

_REMEMBER: Final = """
    CREATE TABLE adoption.balances_before AS
    SELECT user_id, balance, total_earned, total_spent FROM credits.balances
"""

# A slice is of people, and the old service's entries lie in the order of their time: one person's anywhere.  Put
# beside one another, with room on each page for the row that replaces another, a slice is a few hundred pages
# written once, and no index changes.  Without that a slice writes thousands of pages all over the table, each of
# them to the log as well: 4.6 kB of log for an entry, measured.
_HELPERS: Final = {
    "entries by person": """
        CREATE INDEX transactions_adoption ON credits.transactions (user_id, created_at, id);
        ALTER TABLE credits.transactions SET (fillfactor = 40);
        CLUSTER credits.transactions USING transactions_adoption;
        ANALYZE credits.transactions
    """,
    "others by person": """
        CREATE INDEX purchases_adoption ON credits.purchases (user_id);
        CREATE INDEX reservations_adoption ON credits.reservations (user_id);
        ANALYZE credits.purchases, credits.reservations, credits.balances
    """,
}
_IN_ORDER_OF_TIME: Final = """
    DROP INDEX credits.transactions_adoption, credits.purchases_adoption, credits.reservations_adoption;
    ALTER TABLE credits.transactions RESET (fillfactor);
    CREATE INDEX transactions_adoption ON credits.transactions (created_at, id);
    CLUSTER credits.transactions USING transactions_adoption;
    ALTER TABLE credits.transactions SET WITHOUT CLUSTER;
    DROP INDEX credits.transactions_adoption
"""
"""Entries lie as new ones will, which the index of their time relies on, and without the rows that were replaced."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step: `name` is how it is kept, `run` does it."""

    name: str
    run: Callable[[Connection], None]


def done_steps(connection: Connection) -> frozenset[str]:
    """The names of the steps that are done; none before the first."""
    if not is_being_adopted(connection):
        return frozenset()
    return frozenset(row[0] for row in connection.exec_driver_sql("SELECT name FROM adoption.steps"))


def keep_done(connection: Connection, name: str) -> None:
    """Note that a step is done, in its transaction."""
    connection.exec_driver_sql("INSERT INTO adoption.steps (name) VALUES (%s)", (name,))


def before_the_slices() -> tuple[Step, ...]:
    """Nobody writes any more, what everybody has is remembered, and columns and indexes are there."""
    return (
        Step(name="fence", run=_fence),
        _statement("remember balances", _REMEMBER),
        *(_statement(f"columns: {name}", statement) for name, statement in COLUMNS.items()),
        *(_statement(f"index: {name}", statement) for name, statement in _HELPERS.items()),
    )


def after_the_slices() -> tuple[Step, ...]:
    """What must hold from here on, and the door; with it the database is ours, and marked so."""
    return (
        _statement("entries by time", _IN_ORDER_OF_TIME),
        *(_statement(f"guard: {name}", statement) for name, statement in GUARDS.items()),
        Step(name="door", run=_open),
    )


def _statement(name: str, statement: str) -> Step:
    def run(connection: Connection) -> None:
        connection.exec_driver_sql(statement.replace("%", "%%"))

    return Step(name=name, run=run)


def _fence(connection: Connection) -> None:
    connection.exec_driver_sql(_FENCE)
    for table in FENCED:
        connection.exec_driver_sql(_FENCED_TABLE.format(table=table))


def _open(connection: Connection) -> None:
    for table in FENCED:
        connection.exec_driver_sql(f"DROP TRIGGER adoption_fence ON {table}")
    connection.exec_driver_sql(DOOR.replace("%", "%%"))
    script = ScriptDirectory.from_config(alembic_config(""))
    MigrationContext.configure(connection).stamp(script, LEDGER_REVISION)
