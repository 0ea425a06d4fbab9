"""The list of metrics against what a front, workers and a scheduler really tell."""

import asyncio
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devkit import ports
from domain.database import transaction
from domain.ledger_checks import CheckLedger
from domain.telemetry.metrics import ALL_PROCESSES, CATALOGUE, SCHEDULER, WEB, WORKERS
from simulators.auth import AuthSimulator
from tests.support import told
from tests.support.books import Books
from tests.support.client import Client
from tests.support.crew import Crew, eventually
from tests.support.jobs import add, engine_on
from tests.support.process import running_process
from tests.support.scraped import Sample, fetched, names, total
from tests.support.service import environment, new_session
from tests.support.world import Chore, job_in_state, make_world

QUIET = {
    # nothing failed, nothing was lost
    "mana_http_defects_total",
    "mana_timetable_failures_total",
    "mana_throttled_total",
    # no app listens
    "mana_webhook_attempt_seconds",
}
SERIES = ("_bucket", "_sum", "_count", "")


def _labels(samples: list[Sample], name: str) -> set[frozenset[str]]:
    found = set()
    for called, labels, _ in samples:
        if called in {name + suffix for suffix in SERIES}:
            found.add(frozenset(set(labels) - {"le"}))
    return found


async def test_every_metric_of_the_list_is_told_with_its_labels_and_none_besides(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    worker_port, scheduler_port = ports.choose(), ports.choose()
    async with AuthSimulator().running() as auth, new_session() as session:
        variables = environment(database_url=database_url, redis_url=redis_url, auth_url=auth.url) | {
            "WORKER_METRICS_PORT": str(worker_port),
            "SCHEDULER_METRICS_PORT": str(scheduler_port),
        }
        with engine_on(database_url, pool_size=2) as engine:
            make_world(engine)
            Books(database_url).rows("INSERT INTO ops.stripe_events_read (read_until) VALUES (now())")
            with transaction(engine) as connection:
                job_in_state(connection, "failed", at=datetime.now(UTC) - timedelta(minutes=1))
            add(engine, Chore(), now=datetime.now(UTC))
            add(engine, CheckLedger(), now=datetime.now(UTC))
        workers = Crew("workers", "worker_ready", variables, tmp_path / "workers.log")
        scheduler = Crew("scheduler", "scheduler_ready", variables, tmp_path / "scheduler.log")
        with running_process(variables, tmp_path / "web.log") as process:
            try:
                await asyncio.to_thread(workers.start)
                await asyncio.to_thread(scheduler.start)
                client = Client(process.url, session, auth)
                await _be_busy(client)
                pages = {
                    WEB: f"{process.url}/metrics",
                    WORKERS: f"http://127.0.0.1:{worker_port}/",
                    SCHEDULER: f"http://127.0.0.1:{scheduler_port}/",
                }
                await asyncio.to_thread(_until_all_is_told, pages)
                seen = {program: await asyncio.to_thread(fetched, url) for program, url in pages.items()}
            finally:
                workers.kill()
                scheduler.kill()
    for metric in CATALOGUE:
        for program in (
            (WEB, WORKERS, SCHEDULER) if metric.told_by == ALL_PROCESSES else metric.told_by.split(", ")
        ):
            if metric.name in QUIET:
                continue
            assert _labels(seen[program], metric.name) == {frozenset(metric.labels)}, (metric.name, program)
    listed = {metric.name + suffix for metric in CATALOGUE for suffix in SERIES}
    for program, samples in seen.items():
        assert {name for name in names(samples) if name.startswith("mana_")} <= listed, program


async def _be_busy(client: Client) -> None:
    (await client.grant("zoe", 100)).ok()
    (await client.use("zoe", 1)).ok()
    (await client.user("zoe", "GET", "/balance")).ok()
    assert (
        await client.call("GET", "/api/v1/credits/balance", headers={"Authorization": "Bearer x"})
    ).status == 401
    body = {"userId": "zoe", "amount": 1, "description": "back"}
    (await client.internal("POST", "/refund", body)).ok()
    path, event = "/api/v1/webhooks/stripe", json.dumps(told.event("product.created", {})).encode()
    assert (await client.call("POST", path, raw=event)).status == 400
    at = str(int(time.time()))
    digest = hmac.new(b"whsec_development", f"{at}.".encode() + event, hashlib.sha256).hexdigest()
    (await client.call("POST", path, raw=event, headers={"Stripe-Signature": f"t={at},v1={digest}"})).ok()


def _until_all_is_told(pages: dict[str, str]) -> None:
    """Gauges are sampled every second, slots fired within one, jobs done within some."""
    eventually(lambda: total(fetched(pages[WORKERS]), "mana_connections_max") > 0, "sampled", 10)
    eventually(lambda: total(fetched(pages[WORKERS]), "mana_job_seconds_count") > 5, "done", 10)
    eventually(lambda: total(fetched(pages[WORKERS]), "mana_nudges_sent_total") >= 0, "told", 10)
    eventually(lambda: total(fetched(pages[SCHEDULER]), "mana_timetable_slots_fired_total") > 5, "fired", 10)
    eventually(lambda: total(fetched(pages[WEB]), "mana_scheduler_leaders") == 1, "leading", 10)
    eventually(lambda: total(fetched(pages[WEB]), "mana_jobs_oldest_due_seconds") > 0, "due", 10)
    eventually(lambda: "mana_ledger_violations" in names(fetched(pages[WEB])), "checked", 20)
