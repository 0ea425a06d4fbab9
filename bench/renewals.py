"""How fast due subscriptions are billed, and what deductions notice of it: `python -m bench.renewals [COUNT …]`.

A durable PostgreSQL, a Valkey, the front, and `python -m workers` with two processes, all real.  One run of the
recurring charge bills COUNT people (20,000 unless it says otherwise), nine of ten of whom can pay.
Deductions of other people go on over HTTP, one after another: alone first, then beside the run.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from uuid import UUID

from rich.console import Console

from bench.rig import SERVICE_KEY, USERS, Rig, process, rig
from devkit.valkey import Valkey
from domain.database import make_engine, transaction
from domain.jobs import add_job, job_result
from domain.sync_billing.runs import ChargeRecurring
from nudges import Nudger

COUNT = 20_000
PAUSED_PART = 10
WORKER_PROCESSES = 2
ALONE_SECONDS = 3.0
GIVE_UP_SECONDS = 300.0


def main(counts: list[int]) -> int:
    """Measure each count; 1 when a run did not end as it must."""
    console = Console()
    wrong = 0
    with ExitStack() as stack:
        made = stack.enter_context(rig())
        valkey = Valkey(made.home / "valkey")
        valkey.start()
        stack.callback(valkey.stop)
        address = stack.enter_context(made.front())
        workers = made.environment(REDIS_URL=valkey.url(), WORKER_PROCESSES=str(WORKER_PROCESSES))
        stack.enter_context(process([sys.executable, "-m", "workers"], workers))
        time.sleep(5)  # the workers begin
        for count in counts:
            wrong += measure(made, valkey.url(), address, count, console)
    return 1 if wrong else 0


def measure(made: Rig, redis_url: str, address: str, count: int, console: Console) -> int:
    """Bill `count` people; 1 when the run says otherwise."""
    seed(made, count)
    with deducting(address) as alone:
        time.sleep(ALONE_SECONDS)
    with deducting(address) as beside:
        tally, seconds = bill(made, redis_url)
    console.print(
        f"{count:,} due: {tally} in {seconds:.2f} s, {count / seconds:,.0f} subscriptions/s,"
        f" {WORKER_PROCESSES} worker processes",
        highlight=False,
    )
    console.print(f"  a deduction alone  {milliseconds(alone)}", highlight=False)
    console.print(f"  a deduction beside {milliseconds(beside)}", highlight=False)
    paused = -(-count // PAUSED_PART)
    wanted = {"charged": count - paused, "paused": paused, "errors": 0}
    if tally != wanted:
        console.print(f"WRONG: not {wanted}")
    return int(tally != wanted)


def seed(made: Rig, count: int) -> None:
    """People who are due now; every PAUSED_PART-th of them has nothing."""
    made.sql(
        "INSERT INTO credits.balances (user_id, balance, total_earned)"
        f" SELECT 'sync-{count}-' || g, b, b FROM generate_series(0, {count - 1}) g,"
        f" LATERAL (SELECT CASE WHEN g % {PAUSED_PART} = 0 THEN 0 ELSE 1000 END AS b) c"
    )
    made.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, activated_at, next_charge_at)"
        f" SELECT 'sync-{count}-' || g, true, now() - interval '1 month', now() - g * interval '1 millisecond'"
        f" FROM generate_series(0, {count - 1}) g ORDER BY random()"
    )
    made.sql("VACUUM ANALYZE")


def bill(made: Rig, redis_url: str) -> tuple[dict[str, int], float]:
    """What one run says, and the seconds from its adding to its end."""
    engine = make_engine(made.url, pool_size=1)
    nudger = Nudger(redis_url)
    with transaction(engine, nudger) as connection:
        job_id = add_job(connection, ChargeRecurring(), now=datetime.now(UTC))
    began = time.perf_counter()
    result = None
    while result is None and time.perf_counter() < began + GIVE_UP_SECONDS:
        time.sleep(0.01)
        with transaction(engine) as connection:
            result = ended(connection, job_id)
    seconds = time.perf_counter() - began
    nudger.close()
    engine.dispose()
    if result is None:
        raise RuntimeError("the run did not end")
    return result, seconds


def ended(connection, job_id: UUID) -> dict[str, int] | None:  # type: ignore[no-untyped-def]
    """The run's tally, once it is done."""
    found = job_result(connection, job_id)
    return found.result["tally"] if found.state == "done" else None


@contextmanager
def deducting(address: str) -> Iterator[list[float]]:
    """Spend for one person after another until the block ends; the seconds that each took."""
    took: list[float] = []
    stop = threading.Event()
    thread = threading.Thread(target=deduct, args=(address, took, stop))
    thread.start()
    yield took
    stop.set()
    thread.join()


def deduct(address: str, took: list[float], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    headers = {"X-Service-Key": SERVICE_KEY, "Content-Type": "application/json"}
    number = 0
    while not stop.is_set():
        number += 1
        body = {"userId": f"user-{number % USERS}", "amount": 1, "appId": "bench", "description": "bench"}
        began = time.perf_counter()
        connection.request("POST", "/api/v1/internal/credits/use", json.dumps(body), headers)
        response = connection.getresponse()
        response.read()
        took.append(time.perf_counter() - began)
        if response.status != 200:
            raise RuntimeError(f"a deduction was answered {response.status}")
        time.sleep(0.002)
    connection.close()


def milliseconds(took: list[float]) -> str:
    """The median and the tail of many times."""
    cuts = statistics.quantiles(took, n=100)
    return (
        f"median {cuts[49] * 1000:.1f} ms, 99 of 100 within {cuts[98] * 1000:.1f} ms,"
        f" longest {max(took) * 1000:.0f} ms, of {len(took):,}"
    )


if __name__ == "__main__":
    sys.exit(main([int(argument) for argument in sys.argv[1:]] or [COUNT]))
