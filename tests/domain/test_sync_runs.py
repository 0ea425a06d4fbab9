"""Runs and their helpers, and parts around a person with whom the work fails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from psycopg import errors as pg
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import OperationalError

from domain.database import transaction
from domain.isolating import in_parts
from domain.jobs.lock import lock_key
from domain.sync_billing import renewals, runs
from domain.sync_billing.renewals import Tally
from domain.sync_billing.runs import ChargeRecurring, HelpToCharge, Run
from tests.support.sync import START, Sync

LATE = START + timedelta(days=1)


@pytest.fixture
def sync(engine: Engine) -> Sync:
    made = Sync(engine)
    for number in range(6):
        made.fund(f"user-{number}", 100)
    made.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, next_charge_at)"
        " SELECT user_id, true, :due FROM credits.balances",
        due=START,
    )
    return made


def chunk(connection: Connection) -> Tally:
    return renewals.charge_chunk(connection, began_at=LATE, now=LATE)


def test_a_chunk_that_another_worker_is_on_is_left_alone_without_waiting(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "CHUNK", 4)
    with transaction(sync.engine) as one, transaction(sync.engine) as other:
        assert chunk(one) == Tally(charged=4)
        other.execute(text("SET LOCAL lock_timeout = '100ms'"))
        assert chunk(other) == Tally(charged=2)
        assert chunk(other) == Tally()
    assert all(sync.balance(f"user-{number}") == 70 for number in range(6))


def test_a_run_does_not_add_up_before_a_helper_that_is_on_a_chunk_has_ended(sync: Sync) -> None:
    helper = sync.add(HelpToCharge(began_at=LATE))
    sync.sql("UPDATE ops.jobs SET result = CAST('{\"charged\": 7}' AS jsonb) WHERE id = :id", id=helper)
    run = Run(began_at=LATE, helpers=[helper], tally=Tally(paused=1))
    sync.do(chunk)

    def step(run: Run) -> tuple[Run, bool]:
        return sync.do(lambda connection: runs.charge_step(connection, ChargeRecurring(), run, LATE))

    with sync.engine.connect() as worker:
        worker.execute(select(func.pg_advisory_lock(lock_key(helper))))
        assert step(run) == (run, True)
        worker.execute(select(func.pg_advisory_unlock(lock_key(helper))))
    ended = Run(began_at=LATE, helpers=[], tally=Tally(paused=1, charged=7))
    assert step(run) == (ended, False)


def test_a_helper_whose_row_was_pruned_is_counted_as_nothing(sync: Sync) -> None:
    helper = sync.add(HelpToCharge(began_at=LATE))
    sync.sql("DELETE FROM ops.jobs")
    sync.do(chunk)
    run = Run(began_at=LATE, helpers=[helper])
    ended, has_more = sync.do(lambda connection: runs.charge_step(connection, ChargeRecurring(), run, LATE))
    assert (ended.helpers, ended.tally, has_more) == ([], Tally(), False)


def test_an_outage_is_nobodys_fault(sync: Sync) -> None:
    given_up: list[str] = []

    def work(_people: Sequence[str]) -> None:
        raise OperationalError("SELECT", None, pg.QueryCanceled("statement timeout"))

    with pytest.raises(OperationalError):
        sync.do(
            lambda connection: in_parts(
                connection, ["a", "b"], work, lambda person, _error: given_up.append(person)
            )
        )
    assert given_up == []


@pytest.mark.parametrize("bad", [set(), {"c"}, {"a", "h"}, set("abcdefgh")])
def test_the_others_are_worked_on_in_their_order_around_those_with_whom_it_fails(
    sync: Sync, bad: set[str]
) -> None:
    done: list[str] = []
    given_up: list[str] = []

    def work(people: Sequence[str]) -> None:
        if bad & set(people):
            raise ValueError("bad")
        done.extend(people)

    sync.do(
        lambda connection: in_parts(
            connection, "abcdefgh", work, lambda person, _error: given_up.append(person)
        )
    )
    assert done == [person for person in "abcdefgh" if person not in bad]
    assert given_up == sorted(bad)
