"""The house-keeping jobs, as the workers do them."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from domain import heartbeats, ledger_checks, reservations, spending
from domain.database import transaction
from domain.jobs import Ending, Job
from domain.jobs.kind import HORIZON_MAX, HORIZON_MIN
from domain.ledger import balance_of
from domain.ledger_checks import CheckLedger
from domain.settings import read_settings
from domain.upkeep import PruneOldRows, ReleaseExpiredReservations
from scheduler.timetable import TIMETABLE
from tests.support.jobs import NOW, Write, add, engine_on, row_of, run_waiting
from workers.actors import all_handlers
from workers.parts import Parts


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def run(engine: Engine, job: Job) -> Any:
    job_id = add(engine, job)
    handlers = all_handlers(Parts(read_settings({"ENV": "development"}), engine))
    assert run_waiting(engine, handlers, lambda: NOW) == [Ending.DONE]
    return row_of(engine, job_id).result


def test_every_kind_of_the_timetable_has_a_handler_and_no_kind_has_two(engine: Engine) -> None:
    handled = [handler.kind for handler in all_handlers(Parts(read_settings({"ENV": "development"}), engine))]
    assert {type(entry.job(NOW)) for entry in TIMETABLE} <= set(handled)
    names = [kind.kind for kind in handled]
    assert len(names) == len(set(names))


def test_every_kind_is_tried_again_for_minutes_at_least_and_a_day_at_most(engine: Engine) -> None:
    kinds = [handler.kind for handler in all_handlers(Parts(read_settings({"ENV": "development"}), engine))]
    out_of_bounds = {kind.kind for kind in kinds if not HORIZON_MIN <= kind.horizon <= HORIZON_MAX}
    assert out_of_bounds == set()
    assert len({kind.horizon for kind in kinds}) > 1, "each kind has the horizon that is fit for it"


def test_expired_reservations_are_released_in_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.reservations.EXPIRED_PER_CALL_MAX", 3)
    with transaction(engine) as connection:
        spending.grant(
            connection,
            spending.Grant(user_id="u", amount=Decimal(100), reason="r", reference_id="1"),
            now=NOW - timedelta(days=2),
        )
        for hours in range(7):
            reservations.reserve(
                connection,
                user_id="u",
                amount=Decimal(1),
                reason="app:x",
                now=NOW - timedelta(hours=25 + hours),
            )
        reservations.reserve(connection, user_id="u", amount=Decimal(5), reason="app:x", now=NOW)
    done = run(engine, ReleaseExpiredReservations())
    assert (done["count"], done["passed_over"]) == (7, 0)
    with transaction(engine) as connection:
        balance = balance_of(connection, "u")
    assert balance is not None
    assert balance.balance == Decimal(95)


def test_old_rows_go_and_young_ones_stay(engine: Engine) -> None:
    for days in (1, 200):
        at = NOW - timedelta(days=days)
        with transaction(engine) as connection:
            ledger_checks.record(connection, ledger_checks.Checked(findings=[], took_seconds=0.1), now=at)
            connection.execute(
                text("INSERT INTO ops.heartbeats VALUES (:name, 'worker', :at, :at, '{}')"),
                {"name": str(days), "at": at + timedelta(hours=12)},
            )
        job_id = add(engine, Write(key="x"), now=at)
        with transaction(engine) as connection:
            connection.execute(
                text("UPDATE ops.jobs SET state = 'done', finished_at = :at WHERE id = :id"),
                {"at": at, "id": job_id},
            )
    assert run(engine, PruneOldRows()) == {"count": 3}
    with transaction(engine) as connection:
        assert ledger_checks.latest(connection) is not None
        assert [process.name for process in heartbeats.processes(connection, now=NOW)] == ["1"]


def test_the_ledger_check_keeps_what_it_found(engine: Engine) -> None:
    assert run(engine, CheckLedger()) == {"violations": 0}
    with transaction(engine) as connection:
        check = ledger_checks.latest(connection)
    assert check is not None
    assert check.checked_at == NOW
    assert {finding.name for finding in check.findings} >= {"entries_chain", "balance_is_sum_of_entries"}


def test_a_broken_ledger_is_loud_and_names_no_person(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # past the triggers
        connection.execute(text("INSERT INTO credits.balances (user_id, balance) VALUES ('anna', 5)"))
    with capture_logs() as said:
        assert run(engine, CheckLedger()) == {"violations": 1}
    with transaction(engine) as connection:
        check = ledger_checks.latest(connection)
    assert check is not None
    assert check.violation_count == 1
    [loud] = [line for line in said if line["log_level"] == "critical"]
    assert loud["event"] == "ledger_violated"
    assert loud["violations"] == {"balance_is_sum_of_entries": 1}
    assert "anna" not in str(said)
