"""What tests of the ledger share: postings in few words, work at once, and books that must add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, text

from domain import invariants, ledger
from domain.database import make_engine, transaction
from domain.ids import new_id
from domain.ledger import Balance, CountsAs, Entry, EntryType, Outcome, Posted, Posting
from domain.ledger.read import ENTRIES_PER_PAGE_MAX

NOW: Final = datetime(2026, 11, 22, 15, 28, 32, 39_000, tzinfo=UTC)

Result = TypeVar("Result")


def give(user_id: str, amount: str | int | Decimal, **changes: Any) -> Posting:
    """A grant; the balance comes into being when there is none."""
    facts: dict[str, Any] = {
        "id": new_id(NOW),
        "user_id": user_id,
        "type": EntryType.GRANT,
        "amount": Decimal(amount),
        "counts_as": CountsAs.EARNED,
        "app_id": "community",
        "description": "a reward",
        "creates_balance": True,
    }
    return Posting(**{**facts, **changes})


def take(user_id: str, amount: str | int | Decimal, **changes: Any) -> Posting:
    """A use."""
    facts: dict[str, Any] = {
        "id": new_id(NOW),
        "user_id": user_id,
        "type": EntryType.USAGE,
        "amount": -Decimal(amount),
        "counts_as": CountsAs.SPENT,
        "app_id": "chat",
        "description": "a question",
    }
    return Posting(**{**facts, **changes})


def set_aside(user_id: str, amount: str | int | Decimal, **changes: Any) -> Posting:
    """Credits from what can be spent to what is held; a negative amount goes back.  Makes no entry."""
    return take(user_id, 0, held_change=Decimal(amount), counts_as=CountsAs.NEITHER, **changes)


def post(engine: Engine, *postings: Posting, now: datetime = NOW) -> list[Outcome]:
    """Post one list in a transaction of its own."""
    with transaction(engine) as connection:
        return ledger.post(connection, postings, now=now)


def words(outcomes: Sequence[Outcome]) -> list[str]:
    """What became of each posting, as the model and sql/post.sql name it."""
    names = {
        "Posted": "posted",
        "Replayed": "replayed",
        "Insufficient": "insufficient",
        "NoBalance": "no_balance",
        "TooLarge": "too_large",
    }
    return [names[type(outcome).__name__] for outcome in outcomes]


def entry_of(outcome: Outcome) -> Entry:
    """The entry of a posting that was to make one."""
    assert isinstance(outcome, Posted)
    assert outcome.entry is not None
    return outcome.entry


def balance(engine: Engine, user_id: str) -> Balance:
    """The balance of somebody who has one."""
    with engine.connect() as connection:
        found = ledger.balance_of(connection, user_id)
    assert found is not None, f"{user_id} has no balance"
    return found


def entries(engine: Engine, user_id: str) -> list[Entry]:
    """All that a person's ledger shows, newest first."""
    with engine.connect() as connection:
        return ledger.entries_of(connection, user_id, limit=ENTRIES_PER_PAGE_MAX)


def scalar(engine: Engine, query: str, **parameters: object) -> Any:
    """The one value that a query gives."""
    with engine.connect() as connection:
        return connection.execute(text(query), parameters).scalar_one()


def execute(engine: Engine, *statements: str) -> None:
    """Run statements in one transaction, as a person at the database's prompt would."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def at_once(*work: Callable[[], Result]) -> list[Result]:
    """The results of all, which start at the same moment in threads of their own.  Raises what one raises."""
    ready = Barrier(len(work))

    def run(one: Callable[[], Result]) -> Result:
        ready.wait(timeout=30)
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, one) for one in work]]


ALL_VIOLATIONS: Final = " UNION ALL ".join(
    f"SELECT '{fact.name}: ' || subject || ': ' || wrong FROM ({fact.violations}) AS of_{fact.name} (subject, wrong)"
    for fact in invariants.FACTS
)
"""What breaks any fact of the books, in one question: asked after every test."""


def violations(engine: Engine) -> list[str]:
    """What is wrong with the books, each with the fact it breaks."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(ALL_VIOLATIONS.replace("%", "%%")).scalars())


def broken_facts(engine: Engine) -> set[str]:
    """The names of the facts that do not hold."""
    return {finding.name for finding in invariants.check(engine) if finding.violation_count}


@contextmanager
def checked_engine(database_url: str, *, pool_size: int = 16) -> Iterator[Engine]:
    """An engine whose database must keep every invariant, whatever the test did."""
    engine = make_engine(database_url, pool_size=pool_size)
    try:
        yield engine
        assert violations(engine) == []
    finally:
        engine.dispose()
