"""Every metric, declared once: its name, meaning and labels.  docs/metrics.md is made from this list.

Those that a process counts are objects here, for its code to use.  Those of the service as a whole (`OF_ALL`) are
read from PostgreSQL and Redis when somebody asks.  No label holds a person, an id or anything else without a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from domain.telemetry.sharing import use_the_slots_files

use_the_slots_files()  # before the first metric is made
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads

WEB: Final = "web"
WORKERS: Final = "workers"
SCHEDULER: Final = "scheduler"
ALL_PROCESSES: Final = "web, workers, scheduler"


@dataclass(frozen=True)
class Metric:
    """A line of the list.  `told_by` says which program's page has it.

    What `is_of_all` is told of the service as a whole, and is the same whoever tells it.
    """

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str
    told_by: str
    is_of_all: bool = False


CATALOGUE: Final[list[Metric]] = []


def _histogram(
    name: str, meaning: str, labels: tuple[str, ...], buckets: tuple[float, ...], told_by: str
) -> Histogram:
    CATALOGUE.append(Metric(name, "histogram", labels, meaning, told_by))
    return Histogram(name, meaning, labels, buckets=buckets)


def _counter(name: str, meaning: str, labels: tuple[str, ...], told_by: str) -> Counter:
    CATALOGUE.append(Metric(name, "counter", labels, meaning, told_by))
    return Counter(name, meaning, labels)


def _sum_gauge(name: str, meaning: str, labels: tuple[str, ...], told_by: str) -> Gauge:
    CATALOGUE.append(Metric(name, "gauge", labels, meaning, told_by))
    return Gauge(name, meaning, labels, multiprocess_mode="livesum")


def _worst_gauge(name: str, meaning: str, told_by: str) -> Gauge:
    CATALOGUE.append(Metric(name, "gauge", (), meaning, told_by))
    return Gauge(name, meaning, multiprocess_mode="livemax")


def _of_all(name: str, meaning: str, *labels: str) -> Metric:
    metric = Metric(name, "gauge", labels, meaning, WEB, is_of_all=True)
    CATALOGUE.append(metric)
    return metric


REQUESTS: Final = _histogram(
    "mana_http_request_seconds",
    "Time to answer a request, in seconds, by route and status.",
    ("method", "route", "status"),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    WEB,
)
REFUSED_TOKENS: Final = _counter(
    "mana_http_not_authenticated_total", "Requests whose token was not accepted, by reason.", ("reason",), WEB
)
DEFECTS: Final = _counter(
    "mana_http_defects_total", "Requests that met a defect of ours (500).", ("route",), WEB
)
CALLS_OF_APPS: Final = _counter(
    "mana_http_calls_of_apps_total",
    "Calls with the service key, by the app that calls (X-App-Id); `unknown` says nothing, `other` is one of many.",
    ("app",),
    WEB,
)
THROTTLED: Final = _counter(
    "mana_throttled_total", "Requests refused with 429, by what was counted.", ("by",), WEB
)
THROTTLED_ALONE: Final = _counter(
    "mana_throttle_alone_total",
    "Requests that the throttle counted in this process alone, because Redis did not answer.",
    (),
    WEB,
)
BATCH_SIZES: Final = _histogram(
    "mana_batch_size",
    "Items in a batch: `deductions`, `balances` or `webhooks`.",
    ("batch",),
    (1, 2, 4, 8, 16, 32, 64, 128, 256),
    WEB,
)
BATCH_SECONDS: Final = _histogram(
    "mana_batch_seconds",
    "Time from sending a batch to PostgreSQL to its outcomes, in seconds.",
    ("batch",),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    WEB,
)
BATCHES_WAITING: Final = _sum_gauge(
    "mana_batch_waiting", "Items waiting for the next batch, sampled every second.", ("batch",), WEB
)
COLD_WAITING: Final = _sum_gauge(
    "mana_cold_requests",
    "Requests on threads, under way or waiting for one, sampled every second.",
    (),
    WEB,
)
LOOP_LAG: Final = _worst_gauge(
    "mana_event_loop_lag_seconds",
    "How late the event loop is for a timer, in seconds, sampled every second: the worst process.",
    WEB,
)
CONNECTIONS_IN_USE: Final = _sum_gauge(
    "mana_connections_in_use",
    "Connections to PostgreSQL that somebody uses, sampled every second; pools: `hot`, `cold`, `inbox`, `worker`.",
    ("pool",),
    f"{WEB}, {WORKERS}",
)
CONNECTIONS_MAX: Final = _sum_gauge(
    "mana_connections_max", "Connections that a pool may have.", ("pool",), f"{WEB}, {WORKERS}"
)
STRIPE_DELIVERY: Final = _histogram(
    "mana_stripe_delivery_seconds",
    "Time from an event at Stripe to our storing it, in seconds: new ones that a webhook brought.",
    (),
    (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400),
    WEB,
)
WEBHOOKS_REFUSED: Final = _counter(
    "mana_stripe_webhooks_refused_total",
    "Webhooks that were not signed with our secret: `missing` or `invalid` signature.",
    ("reason",),
    WEB,
)
JOB_SECONDS: Final = _histogram(
    "mana_job_seconds",
    "Time of one attempt at a job, in seconds, by what came of it: `done`, `refused`, `waiting` (failed, and tried"
    " again), `failed` (given up).",
    ("kind", "ending"),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900),
    WORKERS,
)
JOB_AGE: Final = _histogram(
    "mana_job_end_to_end_seconds",
    "Time from adding a job to its being done, in seconds; of `handle_stripe_event`: from receiving to handling.",
    ("kind",),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600),
    WORKERS,
)
JOBS_RUNNING: Final = _sum_gauge(
    "mana_jobs_running", "Jobs that workers are on at this moment.", ("queue",), WORKERS
)
RELAYED: Final = _counter(
    "mana_relay_sent_total",
    "Jobs that the relay told workers of, because a nudge was lost or late.",
    (),
    WORKERS,
)
NUDGES_SENT: Final = _counter(
    "mana_nudges_sent_total", "Jobs that workers were told of right after the commit.", (), ALL_PROCESSES
)
NUDGES_LOST: Final = _counter(
    "mana_nudges_lost_total",
    "Jobs left to the relay, because Redis did not take the message.",
    (),
    ALL_PROCESSES,
)
SLOTS_FIRED: Final = _counter(
    "mana_timetable_slots_fired_total",
    "Slots of the timetable that this scheduler fired.",
    ("line",),
    SCHEDULER,
)
LINES_FAILED: Final = _counter(
    "mana_timetable_failures_total",
    "Times that a line of the timetable or a chore could not be done; the next second tries again.",
    ("line",),
    SCHEDULER,
)
LEADS: Final = _worst_gauge("mana_scheduler_leads", "1 while this scheduler leads, else 0.", SCHEDULER)
WEBHOOK_SECONDS: Final = _histogram(
    "mana_webhook_attempt_seconds",
    "Time of one attempt to tell an app, in seconds, by what came of it: `delivered`, `refused` (an answer that was no"
    " success), `unanswered`, `not_allowed` (the address is not public).",
    ("outcome",),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
    WORKERS,
)
WEBHOOK_AGE: Final = _histogram(
    "mana_webhook_age_seconds",
    "Time from an app event to its being taken by an endpoint, in seconds.",
    (),
    (0.1, 0.5, 1, 2.5, 5, 10, 60, 300, 3600, 21600, 86400, 259200),
    WORKERS,
)

DATABASE_UP: Final = _of_all(
    "mana_database_up",
    "1 when PostgreSQL answered for this page in time, else 0: what it would say is then missing.",
)
REDIS_UP: Final = _of_all(
    "mana_redis_up", "1 when Redis answered for this page in time, else 0: what it would say is then missing."
)
JOBS: Final = _of_all(
    "mana_jobs",
    "Jobs by queue and state: `due`, `scheduled` (waiting for their time), `failed`, `refused`, `cancelled`.",
    "queue",
    "state",
)
JOBS_FAILED: Final = _of_all("mana_jobs_failed", "Jobs that were given up, by kind.", "kind")
JOBS_OLDEST_DUE: Final = _of_all(
    "mana_jobs_oldest_due_seconds",
    "How long the job that is longest overdue has been due, in seconds; 0 when none is due.",
    "queue",
)
QUEUE_MESSAGES: Final = _of_all(
    "mana_queue_messages",
    "Dramatiq's messages in Redis by state: `ready`, `delayed`, `unacked` (workers hold them), `dead`.",
    "queue",
    "state",
)
STRIPE_EVENT_AGE: Final = _of_all(
    "mana_stripe_event_age_seconds",
    "Time since Stripe told us of an event, in seconds; missing before the first.",
)
STRIPE_READ_AGE: Final = _of_all(
    "mana_stripe_list_read_age_seconds",
    "Time up to which Stripe's list of events was not read yet, in seconds; missing before the first reading.",
)
STRIPE_UNHANDLED: Final = _of_all(
    "mana_stripe_events_unhandled", "Stripe's events whose job waits, failed or was refused."
)
LEDGER_VIOLATIONS: Final = _of_all(
    "mana_ledger_violations", "Violations that the last check of the ledger found, by fact.", "fact"
)
LEDGER_CHECK_AGE: Final = _of_all(
    "mana_ledger_check_age_seconds",
    "Time since the ledger was checked, in seconds; missing before the first check.",
)
LEDGER_CHECK_SECONDS: Final = _of_all(
    "mana_ledger_check_seconds", "How long the last check of the ledger took, in seconds."
)
PROCESSES: Final = _of_all("mana_processes", "Processes alive: `web`, `worker`, `scheduler`.", "role")
LEADERS: Final = _of_all("mana_scheduler_leaders", "Schedulers alive that lead: 1 when all is well.")
SLOT_AGE: Final = _of_all(
    "mana_timetable_slot_age_seconds",
    "Time since the newest slot of a line that was fired, in seconds.",
    "line",
)
SYNC: Final = _of_all(
    "mana_sync_subscriptions",
    "Sync subscriptions: `active`, `due`, `overdue` (for two hours), `paused`, `gifted`, `problem` (could not be"
    " charged for a reason of ours).",
    "state",
)
GIFTS_OVERDUE: Final = _of_all(
    "mana_gifts_overdue",
    "Active gifts that expired more than five minutes ago: they should have been paid back.",
)
RESERVATIONS_OVERDUE: Final = _of_all(
    "mana_reservations_overdue", "Open reservations that expired more than five minutes ago."
)
USAGE_PENDING: Final = _of_all(
    "mana_usage_pending_rows", "Rows of usage that wait to be added to the statistics."
)
WEBHOOK_ENDPOINTS: Final = _of_all(
    "mana_webhook_endpoints",
    "Endpoints of apps: `working`, `failing` (the last attempt was no success), `paused` by an operator, `disabled`"
    " after long failure.",
    "state",
)
WEBHOOKS_WAITING: Final = _of_all(
    "mana_webhook_deliveries_waiting", "Deliveries that active endpoints have not taken yet."
)
WEBHOOKS_OLDEST_DUE: Final = _of_all(
    "mana_webhook_oldest_due_seconds",
    "How long the person's turn that is longest overdue has been due at an active endpoint, in seconds; 0 for none.",
)
