"""What operators do with jobs, what the relay claims, and what is pruned."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from domain import jobs
from domain.database import transaction
from domain.errors import JobBusy, JobNotFound, JobNotInState
from domain.jobs import Ending, JobState, Once, Outside, run_job
from domain.jobs.due import RESEND_AFTER
from domain.jobs.operate import DONE_KEPT, NOT_DONE_KEPT
from domain.nudge import AddedJob
from tests.support.jobs import (
    NOW,
    Poison,
    Write,
    WriteMail,
    add,
    effects,
    engine_on,
    fail,
    row_of,
    write,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def claim(engine: Engine, *, seconds: float = 0, most: int = 100, queue: str = "money") -> list[UUID]:
    with transaction(engine) as connection:
        claimed = jobs.claim_due(
            connection,
            queue=queue,
            kinds=["test_write", "test_write_mail"],
            most=most,
            now=NOW + timedelta(seconds=seconds),
        )
    return [job.id for job in claimed]


def end(engine: Engine, state: str, ago: timedelta) -> UUID:
    job_id = add(engine, Write(key="x"))
    with transaction(engine) as connection:
        connection.execute(
            text("UPDATE ops.jobs SET state = :state, finished_at = :at WHERE id = :id"),
            {"state": state, "at": NOW - ago, "id": job_id},
        )
    return job_id


# --- claiming ---


def test_a_new_job_is_left_to_its_own_nudge_for_a_second_and_then_claimed(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert claim(engine, seconds=0.9) == []
    assert claim(engine, seconds=1) == [job_id]
    assert row_of(engine, job_id).sent_at == NOW + timedelta(seconds=1)


def test_a_job_that_was_sent_and_still_waits_is_claimed_again_later(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert claim(engine, seconds=1) == [job_id]
    assert claim(engine, seconds=2) == []
    assert claim(engine, seconds=1 + RESEND_AFTER.total_seconds()) == [job_id]


def test_a_job_that_ended_or_is_not_due_or_in_another_queue_or_of_another_kind_is_not_claimed(
    engine: Engine,
) -> None:
    done = add(engine, Write(key="a"))
    run_job(engine, Once(Write, write), done, clock=lambda: NOW)
    add(engine, Write(key="later"), run_at=NOW + timedelta(minutes=1))
    mail = add(engine, WriteMail(key="mail"))
    add(engine, Poison())
    assert claim(engine, seconds=2) == []
    assert claim(engine, seconds=2, queue="mail") == [mail]


def test_many_relays_at_once_claim_each_job_once(engine: Engine) -> None:
    ids = {add(engine, Write(key=str(number))) for number in range(200)}
    with ThreadPoolExecutor(8) as pool:
        claimed = [
            job_id
            for part in pool.map(lambda _: claim(engine, seconds=2, most=50), range(8))
            for job_id in part
        ]
    claimed += claim(engine, seconds=2, most=500)
    assert len(claimed) == 200
    assert set(claimed) == ids


def test_a_job_that_a_worker_holds_is_neither_claimed_nor_waited_for(engine: Engine) -> None:
    held, free = add(engine, Write(key="a")), add(engine, Write(key="b"))
    with transaction(engine) as connection:
        connection.execute(text("SELECT 1 FROM ops.jobs WHERE id = :id FOR UPDATE"), {"id": held})
        assert claim(engine, seconds=2) == [free]


# --- retry and cancel ---


def test_an_operator_can_have_a_failed_and_a_cancelled_job_tried_again_but_not_a_done_one(
    engine: Engine,
) -> None:
    told: list[AddedJob] = []
    for state in ("failed", "cancelled", "refused"):
        job_id = end(engine, state, timedelta(0))
        with transaction(engine, told.extend) as connection:
            jobs.retry(connection, job_id, now=NOW)
        assert told.pop().id == job_id
        assert run_job(engine, Once(Write, write), job_id, clock=lambda: NOW) == Ending.DONE
        with pytest.raises(JobNotInState), transaction(engine) as connection:
            jobs.retry(connection, job_id, now=NOW)
    with pytest.raises(JobNotFound), transaction(engine) as connection:
        jobs.retry(connection, uuid4(), now=NOW)


def test_a_job_in_its_pause_can_be_run_now(engine: Engine) -> None:
    job_id = add(engine, Poison())
    run_job(engine, Once(Poison, fail), job_id, clock=lambda: NOW)
    with transaction(engine) as connection:
        jobs.retry(connection, job_id, now=NOW)
    assert row_of(engine, job_id).run_at == NOW


def test_a_cancelled_job_is_not_worked_on(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    with transaction(engine) as connection:
        jobs.cancel(connection, job_id, now=NOW)
    assert run_job(engine, Once(Write, write), job_id, clock=lambda: NOW) == Ending.SKIPPED
    assert effects(engine) == []
    with pytest.raises(JobNotInState), transaction(engine) as connection:
        jobs.cancel(connection, job_id, now=NOW)
    with pytest.raises(JobNotFound), transaction(engine) as connection:
        jobs.cancel(connection, uuid4(), now=NOW)


def test_a_job_in_the_middle_of_an_outside_call_cannot_be_cancelled(engine: Engine) -> None:
    def call(plan: str, _key: str) -> str:
        with pytest.raises(JobBusy), transaction(engine) as connection:
            jobs.cancel(connection, job_id, now=NOW)
        return plan

    job_id = add(engine, Write(key="a"))
    handler = Outside(Write, lambda _c, job, _n: job.key, call, lambda c, job, _o, n: write(c, job, n))
    assert run_job(engine, handler, job_id, clock=lambda: NOW) == Ending.DONE


# --- reading and pruning ---


def test_results_can_be_read_one_by_one_and_together(engine: Engine) -> None:
    one, other = add(engine, Write(key="a"), user_id="u", subject="s"), add(engine, Write(key="b"))
    run_job(engine, Once(Write, write), one, clock=lambda: NOW)
    with transaction(engine) as connection:
        found = jobs.job_results(connection, [one, other, uuid4()])
        assert {job_id: result.state for job_id, result in found.items()} == {
            one: JobState.DONE,
            other: JobState.WAITING,
        }
        assert jobs.job_result(connection, one) == found[one]
        assert jobs.job_details(connection, one).payload == {"key": "a", "seconds": 0}
        assert [job.id for job in jobs.list_jobs(connection, user_id="u")] == [one]
        assert [job.id for job in jobs.list_jobs(connection, subject="s")] == [one]
        assert [job.id for job in jobs.list_jobs(connection, state=JobState.WAITING)] == [other]
        with pytest.raises(JobNotFound):
            jobs.job_result(connection, uuid4())


def test_jobs_are_counted_by_kind_and_state_with_their_oldest(engine: Engine) -> None:
    add(engine, Write(key="a"), now=NOW - timedelta(hours=2))
    add(engine, Write(key="b"))
    end(engine, "failed", timedelta(0))
    with transaction(engine) as connection:
        counted = jobs.count_jobs(connection)
    assert [(c.kind, c.state, c.count, c.oldest_at) for c in counted] == [
        ("test_write", JobState.FAILED, 1, NOW),
        ("test_write", JobState.WAITING, 2, NOW - timedelta(hours=2)),
    ]


def test_ended_jobs_go_after_their_retention_and_waiting_ones_never(engine: Engine) -> None:
    day = timedelta(days=1)
    end(engine, "done", DONE_KEPT + day)
    end(engine, "failed", NOT_DONE_KEPT + day)
    kept = {
        end(engine, "done", DONE_KEPT - day),
        end(engine, "failed", DONE_KEPT + day),
        end(engine, "refused", NOT_DONE_KEPT - day),
        add(engine, Write(key="old"), now=NOW - timedelta(days=400)),
    }
    with transaction(engine) as connection:
        assert jobs.prune(connection, now=NOW) == 2
        assert {job.id for job in jobs.list_jobs(connection)} == kept
