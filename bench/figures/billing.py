"""How fast due subscriptions are billed, and what deductions notice of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.figures.counted import Counted
from bench.measure import Figure, Pace, Series, figure, take
from bench.rig import Rig
from domain.database import make_engine, transaction
from domain.jobs import add_job, job_result
from domain.sync_billing.runs import ChargeRecurring
from nudges import Nudger

WORKER_PROCESSES = 2
PAUSED_PART = 10
"""Every tenth has nothing, and is paused."""

GIVE_UP_SECONDS = 600.0
ASK_EVERY_SECONDS = 0.01
DEDUCTIONS_PER_SECOND = 100
"""Beside the run and alone: steady, and few enough to measure each by itself."""


def renewals(rig: Rig, pace: Pace) -> list[Figure]:
    """Many due at once, two workers; and deductions' p99 meanwhile."""
    count = pace.of(100_000, 3_000)
    speed = Series(name="billed", unit="subscriptions/s", values=[])
    p99s = [Series(name=name, unit="ms", values=[]) for name in ("beside the run", "alone")]
    wrong: list[str] = []
    rig.accounts.generators.clear()
    with rig.crew(WORKER_PROCESSES) as (front, redis_url):
        counted = Counted(rig, front, pace)
        plan = counted.plan(rate=DEDUCTIONS_PER_SECOND, connections=16)
        plan_beside = msgspec.structs.replace(plan, seconds=GIVE_UP_SECONDS)
        for turn in range(pace.turns):
            seed(rig, f"sync-{turn}", count)

            def beside() -> float:
                with counted.beside(plan_beside) as reports:
                    take(rig, speed, lambda: billed(rig, redis_url, count, wrong))
                return reports[0].p99

            take(rig, p99s[0], beside)
            take(rig, p99s[1], lambda: counted.send(plan).p99)
        # What was billed is usage too, and no deduction by HTTP.
        paid = pace.turns * (count - -(-count // PAUSED_PART))
        counted.before += paid
        checks = [*counted.checks(), f"tallies: {'; '.join(wrong) or 'right'}"]
    return [
        figure(
            rig,
            "renewals",
            f"recurring billing, {count:,} due, {WORKER_PROCESSES} worker processes,"
            f" {DEDUCTIONS_PER_SECOND} deductions/s beside it",
            [speed],
            must=8_000,
            aim=20_000,
            checks=checks,
        ),
        figure(
            rig,
            "renewals_p99",
            f"p99 of {DEDUCTIONS_PER_SECOND} deductions/s during recurring billing, against without it",
            p99s,
            must=3.0,
            aim=1.5,
            higher_is_better=False,
            checks=checks,
        ),
    ]


def seed(rig: Rig, prefix: str, count: int) -> None:
    """People who are due now, in no order."""
    rig.sql(
        "INSERT INTO credits.balances (user_id, balance, total_earned)"
        f" SELECT '{prefix}-' || g, b, b FROM generate_series(0, {count - 1}) g,"
        f" LATERAL (SELECT CASE WHEN g % {PAUSED_PART} = 0 THEN 0 ELSE 1000 END AS b) c"
    )
    rig.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, activated_at, next_charge_at)"
        f" SELECT '{prefix}-' || g, true, now() - interval '1 month', now() - g * interval '1 millisecond'"
        f" FROM generate_series(0, {count - 1}) g ORDER BY random()"
    )
    rig.sql("VACUUM ANALYZE")
    rig.settle()


def billed(rig: Rig, redis_url: str, count: int, wrong: list[str]) -> float:
    """Subscriptions a second of one run, from its adding to its end; what its tally has wrong is added."""
    engine = make_engine(rig.url, pool_size=1)
    nudger = Nudger(redis_url)
    with transaction(engine, nudger) as connection:
        job_id = add_job(connection, ChargeRecurring(), now=datetime.now(UTC))
    began = time.perf_counter()
    tally: dict[str, Any] | None = None
    while tally is None:
        if time.perf_counter() > began + GIVE_UP_SECONDS:
            raise RuntimeError("the run did not end")
        time.sleep(ASK_EVERY_SECONDS)
        with transaction(engine) as connection:
            found = job_result(connection, job_id)
        tally = found.result["tally"] if found.state == "done" else None
    seconds = time.perf_counter() - began
    nudger.close()
    engine.dispose()
    paused = -(-count // PAUSED_PART)
    wanted = {"charged": count - paused, "paused": paused, "errors": 0}
    if tally != wanted:
        wrong.append(f"WRONG {tally}, not {wanted}")
    return count / seconds
