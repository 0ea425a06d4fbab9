"""One attempt at a job: it ends once, or keeps its error and waits."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from domain.database import transaction
from domain.errors import InsufficientCredits, Refusal
from domain.jobs import Ending, Job, Once, Outside, Queue, add_job, job_result, retry, run_job
from domain.jobs.failing import ERRORS_KEPT_MAX, TRIES_MIN, backoff
from domain.jobs.refusals import UnknownRefusal
from domain.nudge import AddedJob
from tests.support.jobs import (
    NOW,
    POISONS,
    WRITES,
    Poison,
    Write,
    add,
    effects,
    engine_on,
    row_of,
    run,
    states,
    steps_of,
    write,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url, pool_size=12) as engine:
        yield engine


def result_of(engine: Engine, job_id: UUID) -> Any:
    with transaction(engine) as connection:
        return job_result(connection, job_id)


# --- once ---


def test_a_job_delivered_ten_times_in_a_row_is_done_once(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    endings = [run(engine, WRITES, job_id, NOW + timedelta(minutes=minute)) for minute in range(10)]
    assert endings == [Ending.DONE, *[Ending.SKIPPED] * 9]
    assert effects(engine) == ["a"]
    assert row_of(engine, job_id).attempts == 1
    assert result_of(engine, job_id).result == {"key": "a"}


def test_a_job_delivered_to_eight_workers_at_once_is_done_once_and_nobody_waits(engine: Engine) -> None:
    job_id = add(engine, Write(key="a", seconds=0.5))
    with ThreadPoolExecutor(8) as pool:
        endings = list(pool.map(lambda _: run(engine, WRITES, job_id), range(8)))
    assert sorted(endings) == [Ending.DONE, *[Ending.SKIPPED] * 7]
    assert effects(engine) == ["a"]
    assert row_of(engine, job_id).attempts == 1


def test_a_job_is_not_worked_on_before_its_time(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"), run_at=NOW + timedelta(minutes=1))
    assert run(engine, WRITES, job_id) == Ending.SKIPPED
    assert run(engine, WRITES, job_id, NOW + timedelta(minutes=1)) == Ending.DONE


def test_a_worker_whose_clock_is_a_little_behind_works_at_once(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert run(engine, WRITES, job_id, NOW - timedelta(seconds=0.9)) == Ending.DONE


def test_a_session_ended_between_the_effect_and_the_commit_leaves_neither_effect_nor_end(
    engine: Engine,
) -> None:
    job_id = add(engine, Write(key="a"))
    cut = iter([True, False])

    def write_and_be_cut_off(connection: Connection, job: Write, now: datetime) -> object:
        made = write(connection, job, now)
        if next(cut):
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with transaction(engine) as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return made

    assert run(engine, Once(Write, write_and_be_cut_off), job_id) == Ending.WAITING
    assert effects(engine) == []
    assert run(engine, Once(Write, write_and_be_cut_off), job_id, NOW + timedelta(seconds=5)) == Ending.DONE
    assert effects(engine) == ["a"]


def test_the_lock_is_given_up_whatever_came_of_the_attempt(engine: Engine) -> None:
    for handler, job in ((WRITES, Write(key="a")), (POISONS, Poison())):
        run(engine, handler, add(engine, job))
        with transaction(engine) as connection:
            held = connection.execute(
                text(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            ).scalar_one()
        assert held == 0, handler


def test_jobs_added_by_a_job_are_told_of_after_its_commit(engine: Engine) -> None:
    told: list[AddedJob] = []

    def add_another(connection: Connection, job: Write, now: datetime) -> None:
        add_job(connection, Write(key="next"), now=now)
        assert told == []

    job_id = add(engine, Write(key="a"))
    run_job(engine, Once(Write, add_another), job_id, clock=lambda: NOW, nudge=told.extend)
    assert len(told) == 1


def test_jobs_added_by_an_attempt_that_failed_are_not_told_of(engine: Engine) -> None:
    told: list[AddedJob] = []

    def add_and_fail(connection: Connection, job: Write, now: datetime) -> None:
        add_job(connection, Write(key="next"), now=now)
        raise ConnectionError

    job_id = add(engine, Write(key="a"))
    run_job(engine, Once(Write, add_and_fail), job_id, clock=lambda: NOW, nudge=told.extend)
    assert told == []
    assert states(engine) == {"waiting": 1}


def test_a_lost_race_is_run_again_at_once(engine: Engine) -> None:
    """A unique violation, as two first writers meet it, costs no attempt."""
    with transaction(engine) as connection:
        connection.execute(text("CREATE UNIQUE INDEX ON testing.effects (key)"))
        connection.execute(text("INSERT INTO testing.effects VALUES ('a')"))
    tries: list[str] = []

    def collide_once(connection: Connection, job: Write, now: datetime) -> object:
        tries.append(job.key)
        return write(connection, Write(key="a" if len(tries) == 1 else "b"), now)

    assert run(engine, Once(Write, collide_once), add(engine, Write(key="x"))) == Ending.DONE
    assert effects(engine) == ["a", "b"]


# --- refusals ---


class Broke(Refusal):
    code = "test_broke"
    is_recorded = True

    def __init__(self, missing: Decimal, since: datetime) -> None:
        super().__init__("broke")
        self.missing = missing
        self.since = since


def refuser(refusal: Refusal) -> Once[Write]:
    def refuse(connection: Connection, job: Write, now: datetime) -> object:
        write(connection, job, now)
        raise refusal

    return Once(Write, refuse)


def test_a_refusal_is_final_undoes_the_work_and_is_the_very_refusal_again(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert run(engine, refuser(InsufficientCredits(Decimal(5), Decimal("0.1"))), job_id) == Ending.REFUSED
    assert effects(engine) == []
    found = result_of(engine, job_id)
    assert type(found.refusal) is InsufficientCredits
    assert vars(found.refusal) == {"required": Decimal(5), "available": Decimal("0.1")}
    assert type(found.refusal.required) is Decimal
    assert run(engine, WRITES, job_id) == Ending.SKIPPED


def test_a_recorded_refusal_keeps_the_work(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert run(engine, refuser(Broke(Decimal(1), NOW)), job_id) == Ending.REFUSED
    assert effects(engine) == ["a"]
    assert vars(result_of(engine, job_id).refusal) == {"missing": Decimal(1), "since": NOW}


def test_a_refusal_that_the_code_has_forgotten_can_still_be_read(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    run(engine, refuser(Broke(Decimal(1), NOW)), job_id)
    with transaction(engine) as connection:
        connection.execute(text("""UPDATE ops.jobs SET result = result || '{"code": "gone"}'"""))
    refusal = result_of(engine, job_id).refusal
    assert isinstance(refusal, UnknownRefusal)
    assert refusal.refused_code == "gone"


# --- outages ---


def test_an_outage_undoes_the_work_keeps_the_error_and_waits_for_its_time(engine: Engine) -> None:
    def write_and_fail(connection: Connection, job: Write, now: datetime) -> object:
        write(connection, job, now)
        raise ConnectionError("stripe is down")

    job_id = add(engine, Write(key="a"))
    assert run(engine, Once(Write, write_and_fail), job_id) == Ending.WAITING
    row = row_of(engine, job_id)
    assert effects(engine) == []
    assert row.last_error == "ConnectionError: stripe is down"
    assert row.errors[0]["attempt"] == 1
    assert any("write_and_fail" in frame for frame in row.errors[0]["where"])
    assert row.retry_until == NOW + Write.horizon
    assert NOW + timedelta(seconds=0.5) <= row.run_at == row.nudge_at <= NOW + timedelta(seconds=1.5)
    assert run(engine, WRITES, job_id, row.run_at) == Ending.DONE


def test_past_its_horizon_a_job_fails_with_its_errors_kept_and_an_operator_can_have_it_tried_again(
    engine: Engine,
) -> None:
    job_id = add(engine, Poison())
    now, tries = NOW, 0
    while (ending := run(engine, POISONS, job_id, now)) == Ending.WAITING:
        tries += 1
        now = row_of(engine, job_id).run_at
    row = row_of(engine, job_id)
    assert ending == Ending.FAILED
    assert now == row.finished_at == NOW + Poison.horizon, "the last attempt is at the horizon"
    assert 10 <= tries <= 40
    assert row.last_error == "RuntimeError: poison"
    assert len(row.errors) == ERRORS_KEPT_MAX
    assert run(engine, POISONS, job_id, now) == Ending.SKIPPED
    with transaction(engine) as connection:
        retry(connection, job_id, now=now)
    assert run(engine, POISONS, job_id, now) == Ending.WAITING, "it has its whole horizon again"
    print(f"{tries + 1} attempts in ten minutes")


def test_a_horizon_that_passed_while_the_clock_was_set_forward_is_no_end(engine: Engine) -> None:
    job_id = add(engine, Poison())
    assert run(engine, POISONS, job_id) == Ending.WAITING
    now, tries = NOW + timedelta(days=1), 1
    while run(engine, POISONS, job_id, now) == Ending.WAITING:
        tries += 1
        now = row_of(engine, job_id).run_at
    assert tries == TRIES_MIN - 1, "the last one ends it"
    assert timedelta(seconds=5) <= now - (NOW + timedelta(days=1)) <= timedelta(minutes=1)


def test_the_horizon_begins_with_the_first_failure_not_with_a_wait_for_workers(engine: Engine) -> None:
    job_id = add(engine, Poison())
    assert run(engine, POISONS, job_id, NOW + timedelta(days=2)) == Ending.WAITING


def test_pauses_double_up_to_a_share_of_the_horizon_and_differ(engine: Engine) -> None:
    horizon = timedelta(hours=1)
    pauses = {attempt: [backoff(attempt, horizon) for _ in range(50)] for attempt in (1, 4, 60)}
    for attempt, middle in ((1, 1), (4, 8), (60, 300)):
        assert min(pauses[attempt]) >= timedelta(seconds=middle * 0.5)
        assert max(pauses[attempt]) <= timedelta(seconds=middle * 1.5)
        assert len(set(pauses[attempt])) > 40


def test_an_error_of_the_database_is_kept_without_the_values_of_its_statement(engine: Engine) -> None:
    def fail_with_values(connection: Connection, _job: Write, _now: datetime) -> None:
        connection.execute(text("SELECT 1 / length(:address)"), {"address": ""})
        connection.execute(text("SELECT CAST(:address AS integer)"), {"address": "anna@example.com"})

    job_id = add(engine, Write(key="a"))
    run(engine, Once(Write, fail_with_values), job_id)
    assert row_of(engine, job_id).last_error == "DivisionByZero: division by zero"


def test_a_payload_that_cannot_be_read_is_an_outage_of_that_job_alone(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    with transaction(engine) as connection:
        connection.execute(text("""UPDATE ops.jobs SET payload = '{"key": 1}'"""))
    assert run(engine, WRITES, job_id) == Ending.WAITING
    assert "ValidationError" in row_of(engine, job_id).last_error


def test_an_interrupted_attempt_is_a_failed_one_and_the_interruption_goes_on(engine: Engine) -> None:
    class Interrupt(BaseException):
        pass

    def be_interrupted(connection: Connection, job: Write, now: datetime) -> None:
        write(connection, job, now)
        raise Interrupt

    job_id = add(engine, Write(key="a"))
    with pytest.raises(Interrupt):
        run(engine, Once(Write, be_interrupted), job_id)
    assert effects(engine) == []
    assert row_of(engine, job_id).state == "waiting"
    assert "Interrupt" in row_of(engine, job_id).last_error
    assert run(engine, WRITES, job_id, NOW + timedelta(seconds=2)) == Ending.DONE


# --- steps ---


def test_a_long_job_goes_on_from_the_last_committed_step(engine: Engine) -> None:
    outages = iter([ConnectionError("once")])

    def fail_at_three(count: int) -> None:
        if count == 3 and (outage := next(outages, None)):
            raise outage

    job_id = add(engine, Write(key="s"))
    assert run(engine, steps_of(5, fail_at_three), job_id) == Ending.WAITING
    assert effects(engine) == ["s0", "s1", "s2"]
    assert run(engine, steps_of(5, fail_at_three), job_id, NOW + timedelta(seconds=2)) == Ending.DONE
    assert effects(engine) == ["s0", "s1", "s2", "s3", "s4"]
    assert result_of(engine, job_id).result == {"count": 5}


def test_a_long_job_that_was_refused_begins_anew_when_an_operator_wants_it(engine: Engine) -> None:
    def refuse(_count: int) -> None:
        raise InsufficientCredits(Decimal(1), Decimal(0))

    job_id = add(engine, Write(key="s"))
    assert run(engine, steps_of(2, refuse), job_id) == Ending.REFUSED
    with transaction(engine) as connection:
        retry(connection, job_id, now=NOW)
    assert row_of(engine, job_id).result is None, "what had refused it is no progress"
    assert run(engine, steps_of(2), job_id) == Ending.DONE


# --- outside ---


class Charge(Job, frozen=True, kw_only=True):
    kind: ClassVar[str] = "test_charge"
    queue: ClassVar[Queue] = Queue.BILLING
    purchase: str


def charging(engine: Engine, calls: list[str], outage: Exception | None = None) -> Outside[Charge, str, str]:
    outages = iter([outage] if outage else [])

    def call(plan: str, key: str) -> str:
        with transaction(engine) as connection:
            open_transactions = connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND state LIKE 'idle in transaction%'"
                )
            ).scalar_one()
        assert open_transactions == 0, "no transaction may be open while the outside is asked"
        calls.append(key)
        if found := next(outages, None):
            raise found
        return f"charged {plan}"

    def record(connection: Connection, job: Charge, outcome: str, now: datetime) -> object:
        return write(connection, Write(key=outcome), now)

    return Outside(Charge, lambda _connection, job, _now: job.purchase or None, call, record)


def test_the_outside_is_called_without_a_transaction_and_again_with_the_same_key(engine: Engine) -> None:
    calls: list[str] = []
    handler = charging(engine, calls, TimeoutError("no answer"))
    job_id = add(engine, Charge(purchase="p"))
    assert run(engine, handler, job_id) == Ending.WAITING
    assert run(engine, handler, job_id, NOW + timedelta(seconds=2)) == Ending.DONE
    assert calls == [f"job:{job_id}"] * 2
    assert effects(engine) == ["charged p"]


def test_a_call_under_way_keeps_other_workers_from_the_job(engine: Engine) -> None:
    others: list[Ending] = []
    calls: list[str] = []
    inner = charging(engine, calls)

    def call(plan: str, key: str) -> str:
        others.append(run(engine, handler, job_id, NOW + timedelta(minutes=5)))
        return inner.call(plan, key)

    handler = Outside(Charge, inner.read, call, inner.record)
    job_id = add(engine, Charge(purchase="p"))
    assert run(engine, handler, job_id) == Ending.DONE
    assert others == [Ending.SKIPPED]
    assert len(calls) == 1


def test_a_worker_that_lost_its_session_during_a_call_leaves_the_end_to_the_one_that_made_it(
    engine: Engine,
) -> None:
    calls: list[str] = []
    inner = charging(engine, [])

    def call(plan: str, key: str) -> str:
        calls.append(key)
        if len(calls) == 1:
            with transaction(engine) as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks JOIN pg_database ON oid = database"
                        " WHERE datname = current_database() AND locktype = 'advisory'"
                    )
                )
            assert run(engine, handler, job_id, NOW + timedelta(minutes=5)) == Ending.DONE
        return inner.call(plan, key)

    handler = Outside(Charge, inner.read, call, inner.record)
    job_id = add(engine, Charge(purchase="p"))
    assert run(engine, handler, job_id) == Ending.SKIPPED
    assert effects(engine) == ["charged p"]
    assert calls == [f"job:{job_id}"] * 2, "the same key, so that the outside does it once"
    assert row_of(engine, job_id).last_error is None


def test_nothing_to_do_outside_ends_the_job_without_a_call(engine: Engine) -> None:
    calls: list[str] = []
    assert run(engine, charging(engine, calls), add(engine, Charge(purchase=""))) == Ending.DONE
    assert calls == []


def test_a_call_that_is_refused_ends_the_job(engine: Engine) -> None:
    def refuse(_plan: str, _key: str) -> str:
        raise InsufficientCredits(Decimal(1), Decimal(0))

    inner = charging(engine, [])
    handler = Outside(Charge, inner.read, refuse, inner.record)
    assert run(engine, handler, add(engine, Charge(purchase="p"))) == Ending.REFUSED


def test_many_jobs_in_any_order_with_crashes_outages_and_repeats_end_once_each(engine: Engine) -> None:
    """Not aimed at one defence: everything at once, eight workers, 60 jobs, deliveries shuffled."""
    chance = random.Random(7)
    ids = [add(engine, Write(key=f"{number:02}")) for number in range(60)]
    trouble = iter([chance.random() < 0.3 for _ in range(10_000)])

    def shaky(connection: Connection, job: Write, now: datetime) -> object:
        made = write(connection, job, now)
        if next(trouble):
            raise ConnectionError
        return made

    now = NOW
    while states(engine).get("waiting"):
        deliveries = ids * 3
        chance.shuffle(deliveries)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(run, engine, Once(Write, shaky), now=now), deliveries))
        now += timedelta(minutes=4)
    assert effects(engine) == [f"{number:02}" for number in range(60)]
    print("60 jobs done once each")
