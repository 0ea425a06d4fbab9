"""What wrk and pgbench print, read."""

from __future__ import annotations

import msgspec
import pytest

from bench import pgbench_runs, wrk
from bench.plan import Plan

PRINTED = """\
Running 1s test @ http://127.0.0.1:16000/api/v1/internal/credits/use
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.03ms    1.51ms  16.60ms   86.78%
    Req/Sec     8.07k   607.52     8.65k    80.00%
  8030 requests in 1.00s, 4.15MB read
  Non-2xx or 3xx responses: 30

REPORT {"requests":8030,"duration":1000000,"failed":30,"lost":0,"sent":8061,"late":3,"paced":300,\
"retry_after":0,"p50":3900.0,"p99":9100.5,"worst":16600.0,"statuses":{}}
"""

PLAN = Plan(
    port=16000,
    method="POST",
    path="/use",
    headers={"X-Service-Key": "key"},
    body='{"userId":"{user}","idempotencyKey":"{key}"}',
    connections=32,
    seconds=1,
    users=10,
    first_user=5,
    user_step=3,
)


def test_the_report_of_wrk_is_read_in_seconds_and_milliseconds() -> None:
    report = wrk.report_of(PRINTED, cpu_seconds=0.2)
    assert (report.ok, report.answered, report.sent) == (8_000, 8_030, 8_061)
    assert report.statuses == {"200": 8_000, "4xx-5xx": 30}
    assert (report.seconds, report.per_second) == (1.0, 8_030.0)
    assert (report.p50, report.p99, report.worst) == (3.9, 9.1005, 16.6)
    assert (report.cpu_seconds, report.late) == (0.2, 0.01)


def test_statuses_that_the_script_counted_are_taken_as_they_are_and_lost_connections_told() -> None:
    printed = PRINTED.replace('"statuses":{}', '"statuses":{"200":8000,"503":30}')
    report = wrk.report_of(printed.replace('"lost":0', '"lost":2'), cpu_seconds=0)
    assert report.statuses == {"200": 8_000, "503": 30, "lost": 2}
    assert report.answered == 8_030


def test_wrk_that_told_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="told nothing"):
        wrk.report_of("unable to connect to 127.0.0.1:16000 Connection refused\n", cpu_seconds=0)


def test_the_script_makes_bodies_of_the_plan_and_nothing_is_left_open_in_it() -> None:
    script = wrk.script_of(PLAN)
    assert '"{\\"userId\\":\\"" .. user .. "\\",\\"idempotencyKey\\":\\"" .. key .. "\\"}"' in script
    assert '"user-" .. (5 + math.random(0, 10 - 1) * 3)' in script
    assert "POST /use HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nX-Service-Key: key\\r\\nContent-Length: " in script
    assert "function delay()" not in script
    assert "function response(" not in script
    for name in ("SEED", "RUN", "HEAD", "BODY", "PACING", "TELLING", "GAP"):
        assert f" {name} " not in script


def test_a_paced_script_has_one_schedule_for_all_connections() -> None:
    script = wrk.script_of(msgspec.structs.replace(PLAN, rate=4_000.0, tells_headers=True))
    assert "due + 0.25 or at" in script
    assert "function response(" in script


def test_a_value_with_another_ones_name_in_it_stays_as_it_is() -> None:
    script = wrk.script_of(msgspec.structs.replace(PLAN, body="SEED of a HEAD"))
    assert '"SEED of a HEAD"' in script


PGBENCH = """\
transaction type: multi_statement.sql
number of clients: 16
number of transactions actually processed: 5021
number of failed transactions: 0 (0.000%)
latency average = 3.187 ms
tps = 5020.117438 (without initial connection time)
"""


def test_pgbench_is_believed_in_what_it_counted() -> None:
    assert pgbench_runs.parsed(PGBENCH) == pgbench_runs.PgbenchRun(5_021, 5_020.117438)


def test_a_failed_transaction_of_pgbench_is_an_error() -> None:
    with pytest.raises(ValueError, match="failed transactions: 3"):
        pgbench_runs.parsed(PGBENCH.replace("failed transactions: 0", "failed transactions: 3"))
