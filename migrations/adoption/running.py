"""Adopting: the steps that are not done yet, one after the other, and the proof at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from domain import invariants
from domain.database import make_engine, transaction
from domain.invariants import Finding
from migrations.adoption import steps
from migrations.adoption.steps import LEDGER_REVISION, Step
from migrations.config import (
    MIGRATION_LOCK,
    OLD_SERVICE_REVISION,
    alembic_config,
    is_being_adopted,
    is_of_the_old_service,
    upgrade_to_head,
)
from migrations.revisions import current_revision
from migrations.to_ledger import Slice, carry_over

ENTRIES_PER_SLICE: Final = 20_000
"""Entries carried over in one transaction: under half a second of work, and a few MB of the server's memory.
One person's are never parted."""

PEOPLE_PER_SLICE: Final = 10_000
"""The same, for people with few entries."""

APPLICATION_NAME: Final = "mana-credits adoption"

SETTINGS: Final = """
    SELECT set_config('adoption.running', 'on', true),
           set_config('lock_timeout', '10s', true),
           -- A killed adopter's session ends within seconds, and its locks go.
           set_config('client_connection_check_interval', '1s', true),
           set_config('work_mem', '64MB', true),
           set_config('maintenance_work_mem', '128MB', true),
           -- Its last commit may still be on its way: what is done is read after it.
           pg_advisory_xact_lock({lock})
"""

STEP_LOCK: Final = 0x6D616E61_0A
"""Advisory lock of the transaction that does a step."""

DIFFERENCES_SHOWN_MAX: Final = 20
"""How many people whose figures differ are named; all are counted."""

CLEANED: Final = ("credits.transactions", "credits.balances", "credits.reservations", "credits.purchases")


class CannotAdopt(Exception):
    """The database is not one to adopt, or is in use.  Says what to do."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: entries carried over and all of them, while slices are done; else the step alone."""

    step: str
    place: int
    of: int
    entries_done: int = 0
    entries: int = 0


Told = Callable[[Progress], object]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The proof: how many people's figures differ from before without an entry of ours that says why, the first
    of them, and the facts.
    """

    people: int
    differ_count: int
    differ: list[str]
    findings: list[Finding]

    @property
    def holds(self) -> bool:
        """Whether everybody has what they had, and every fact holds."""
        return not self.differ_count and not any(finding.violation_count for finding in self.findings)


def adoption_engine(database_url: str) -> Engine:
    """An engine without a time limit on statements."""
    return make_engine(
        database_url, pool_size=2, statement_timeout_seconds=0, application_name=APPLICATION_NAME
    )


def state_of(engine: Engine) -> str:
    """`old`, `under way`, or `ours`.  Raises CannotAdopt for any other database."""
    with engine.connect() as connection:
        if is_being_adopted(connection):
            return "under way"
        revision = current_revision(connection)
        if is_of_the_old_service(connection) or revision == OLD_SERVICE_REVISION:
            return "old"
        if revision is not None:
            return "ours"
    raise CannotAdopt("there are no tables of the old service in this database")


def adopt(engine: Engine, database_url: str, told: Told = lambda _: None) -> Verdict:
    """Bring a database of the old service to the newest revision, in steps; go on where another run ended.

    Returns the proof.  When it does not hold, the remembered balances stay in the schema `adoption`.
    Raises CannotAdopt when a table is in use for longer than ten seconds.
    """
    with _alone(engine):
        if state_of(engine) == "ours":
            raise CannotAdopt("this database is ours already; there is nothing to adopt")
        plan = _Plan(engine, told)
        for step in steps.before_the_slices():
            plan.do(step)
        plan.do_slices()
        for step in steps.after_the_slices():
            plan.do(step)
    # Alembic takes the lock itself.
    for revision in newer_revisions():
        plan.do_outside(f"revision {revision}", lambda to=revision: _upgrade(database_url, to))  # type: ignore[misc]
    with _alone(engine):
        plan.do_outside("clean up", lambda: _clean(engine))
        plan.place += 1
        plan.tell("check the books")
        verdict = prove(engine)
        if verdict.holds:
            with transaction(engine) as connection:
                connection.exec_driver_sql("DROP SCHEMA adoption CASCADE")
    return verdict


def newer_revisions() -> list[str]:
    """The revisions after the ledger's, the oldest first."""
    script = ScriptDirectory.from_config(alembic_config(""))
    newest_first = [one.revision for one in script.walk_revisions(LEDGER_REVISION, "heads")]
    return newest_first[::-1][1:]


class _Plan:
    """Does steps that are not done, and tells of each."""

    def __init__(self, engine: Engine, told: Told) -> None:
        self.engine = engine
        self.told = told
        self.place = 0
        before, after = steps.before_the_slices(), steps.after_the_slices()
        self.of = len(before) + 1 + len(after) + len(newer_revisions()) + 2

    def tell(self, name: str, *, entries_done: int = 0, entries: int = 0) -> None:
        """Say what is being done."""
        self.told(
            Progress(step=name, place=self.place, of=self.of, entries_done=entries_done, entries=entries)
        )

    def do(self, step: Step) -> None:
        """Do a step in one transaction, unless it is done."""
        self.place += 1
        with _step(self.engine) as connection:
            if step.name in steps.done_steps(connection):
                return
            self.tell(step.name)
            step.run(connection)
            steps.keep_done(connection, step.name)

    def do_outside(self, name: str, work: Callable[[], None]) -> None:
        """Do what has transactions of its own, and may be done twice."""
        self.place += 1
        with _step(self.engine) as connection:
            if name in steps.done_steps(connection):
                return
        self.tell(name)
        work()
        with _step(self.engine) as connection:
            steps.keep_done(connection, name)

    def do_slices(self) -> None:
        """Carry people's rows over, a slice to a transaction."""
        self.place += 1
        is_done = False
        while not is_done:
            with _step(self.engine) as connection:
                if "slices" in steps.done_steps(connection):
                    return
                row = connection.exec_driver_sql(
                    "SELECT after_user_id, entries_done, entries FROM adoption.progress"
                ).one()
                self.tell("slices", entries_done=row.entries_done, entries=row.entries)
                is_done = _carry_slice(connection, row.after_user_id)
                if is_done:
                    steps.keep_done(connection, "slices")


_NEXT_BOUND: Final = """
    SELECT min(user_id) FROM (
        (SELECT user_id FROM credits.transactions WHERE {these} ORDER BY user_id OFFSET {entries} LIMIT 1)
        UNION ALL
        (SELECT user_id FROM credits.balances WHERE {these} ORDER BY user_id OFFSET {people} LIMIT 1)
    ) bounds
"""
_NOTE_PROGRESS: Final = """
    UPDATE adoption.progress SET after_user_id = %(up_to)s, entries_done = least(
        entries, entries_done + (SELECT count(*) FROM credits.transactions WHERE {these} AND version < 0))
"""


def _carry_slice(connection: Connection, after: str | None) -> bool:
    """Carry the next people over; whether they were the last."""
    rest = Slice(after=after)
    query = _NEXT_BOUND.format(
        these=rest.holds("user_id"), entries=ENTRIES_PER_SLICE, people=PEOPLE_PER_SLICE
    )
    up_to = connection.exec_driver_sql(query, rest.parameters).scalar_one()
    people = Slice(after=after, up_to=up_to)
    for statement in carry_over(people):
        connection.exec_driver_sql(statement, people.parameters)
    note = _NOTE_PROGRESS.format(these=people.holds("user_id"))
    connection.exec_driver_sql(note, {"up_to": up_to, **people.parameters})
    return up_to is None


@contextmanager
def _step(engine: Engine) -> Iterator[Connection]:
    try:
        with transaction(engine) as connection:
            connection.exec_driver_sql(SETTINGS.format(lock=STEP_LOCK))
            yield connection
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        with engine.connect() as connection:
            others = connection.exec_driver_sql(_OTHERS, (APPLICATION_NAME,)).scalars().all()
        raise CannotAdopt(
            "a table is in use; stop the old service and run this again.  Connected: "
            + ("; ".join(others) or "nobody any more")
        ) from error


_OTHERS: Final = """
    SELECT format('%%s (process %%s, %%s since %%s)', coalesce(nullif(application_name, ''), usename), pid, state,
                  to_char(state_change, 'HH24:MI:SS'))
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> %s
      AND backend_type = 'client backend'
    ORDER BY state_change
"""


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """The lock of whoever migrates, waited for: a killed adopter's session holds it for a second or two."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as lock:
        lock.exec_driver_sql("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
        try:
            yield
        except BaseException:
            lock.invalidate()  # the session ends, and the lock with it
            raise
        lock.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))


def _upgrade(database_url: str, revision: str) -> None:
    upgrade_to_head(alembic_config(database_url), revision)


def _clean(engine: Engine) -> None:
    """Give the room of replaced rows back, and let the planner know the tables."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for table in CLEANED:
            connection.exec_driver_sql(f"VACUUM (ANALYZE) {table}")
        connection.exec_driver_sql("ANALYZE")


# Of whom the ledger wrote since then, the entry says why the figures are others.
_DIFFER: Final = """
    SELECT format('%%s: had %%s, earned %%s, spent %%s; now %%s, %%s, %%s', coalesce(b.user_id, a.user_id),
                  a.balance, a.total_earned, a.total_spent, b.balance, b.total_earned, b.total_spent),
           count(*) OVER ()
    FROM credits.balances b FULL JOIN adoption.balances_before a USING (user_id)
    WHERE (b.balance, b.total_earned, b.total_spent)
          IS DISTINCT FROM (coalesce(a.balance, 0)::numeric, coalesce(a.total_earned, 0)::numeric,
                            coalesce(a.total_spent, 0)::numeric)
      AND NOT EXISTS (SELECT FROM credits.transactions t WHERE t.user_id = b.user_id AND t.version > 0)
    ORDER BY 1 LIMIT {most}
"""


def prove(engine: Engine) -> Verdict:
    """Compare what everybody has with what they had, and check every fact.  Reads only."""
    with engine.connect() as connection:
        people = connection.exec_driver_sql("SELECT count(*) FROM adoption.balances_before").scalar_one()
        differ = connection.exec_driver_sql(_DIFFER.format(most=DIFFERENCES_SHOWN_MAX)).all()
    return Verdict(
        people=people,
        differ_count=differ[0][1] if differ else 0,
        differ=[line for line, _ in differ],
        findings=invariants.check(engine),
    )
