"""What administrators see of the whole service: overview, figures, subscriptions, ledger checks, audit."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain import operators
from domain.ledger_checks import LedgerCheck
from domain.operators import Overview, figures, subscriptions
from domain.operators.acting import Command
from domain.operators.audit import Action, AuditFilter, AuditRecord
from domain.operators.commands import RebuildUsage, RunBilling, RunLedgerCheck
from domain.operators.figures import DAYS_MAX, DAYS_SHOWN, DayFigures
from domain.operators.subscriptions import (
    REVENUE_DAYS,
    REVENUE_DAYS_MAX,
    RevenueDay,
    SubscriptionSeen,
    SubscriptionState,
)
from web.deductions import Outage
from web.frame import frame_key
from web.operators.actions import add_action
from web.operators.latency import Latency, deduction_latency
from web.operators.queries import (
    BEFORE,
    PAGE,
    PERIOD,
    choice_query,
    limit_of,
    offset_of,
    query_choice,
    query_text,
    query_time,
    query_uuid,
    text_query,
)
from web.operators.wire import show, shown
from web.query_numbers import number_schema, query_number
from web.routing import Access, Call, Query, Routes

routes = Routes("/api/v1/admin", Access.ADMIN, "Operators")

REDIS_SECONDS_MAX: Final = 1.0
OVERVIEW_SECONDS_MAX: Final = 5.0

OK: Final = "ok"
SILENT: Final = "does not answer"


class HealthOverview(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it is healthy, and everything at one moment; no `overview` while PostgreSQL does not answer.

    `latency` is of this process alone.
    """

    database: str
    redis: str
    latency: Latency
    overview: Overview | None


@routes.add("GET", "/overview", answer=shown(HealthOverview))
async def overview(call: Call) -> Any:
    """Is people's money safe: health, jobs, credits, the last ledger check, renewals.  It answers in outages too."""
    redis, seen = await asyncio.gather(redis_state(call.services.settings.redis_url), _overview(call))
    return show(
        HealthOverview(
            database=OK if seen is not None else SILENT,
            redis=redis,
            latency=deduction_latency(call.request.app[frame_key]),
            overview=seen,
        )
    )


async def _overview(call: Call) -> Overview | None:
    try:
        async with asyncio.timeout(OVERVIEW_SECONDS_MAX):
            return await call.services.bridge.run(
                lambda connection, now: operators.overview(connection, now=now)
            )
    except (Outage, TimeoutError):
        return None


async def redis_state(url: str) -> str:
    """`ok`, or what is wrong with Redis."""
    client = Redis.from_url(
        url, socket_timeout=REDIS_SECONDS_MAX, socket_connect_timeout=REDIS_SECONDS_MAX, retry=None
    )
    try:
        await client.ping()
    except (RedisError, OSError):
        return SILENT
    finally:
        await client.aclose()
    return OK


@routes.add(
    "GET",
    "/figures",
    answer=shown(list[DayFigures]),
    queries=(Query("days", f"How many; at most {DAYS_MAX}", number_schema(1)),),
)
async def figures_by_day(call: Call) -> Any:
    """What happened to credits on each of the last days, today last."""
    days = query_number(call.request, "days", DAYS_SHOWN, low=1, high=DAYS_MAX)
    return show(await call.services.bridge.run(lambda c, now: figures.by_day(c, now=now, days=days)))


@routes.add(
    "GET",
    "/subscriptions",
    answer=shown(list[SubscriptionSeen]),
    queries=(choice_query("state", "Which; active ones without it", SubscriptionState), *PAGE),
)
async def list_subscriptions(call: Call) -> Any:
    """Subscriptions in a state: those to be charged next first, then those paused longest."""
    state = query_choice(call.request, "state", SubscriptionState) or SubscriptionState.ACTIVE
    limit, offset = limit_of(call.request), offset_of(call.request)
    return show(
        await call.services.bridge.run(
            lambda c, now: subscriptions.list_subscriptions(c, state, now=now, limit=limit, offset=offset)
        )
    )


@routes.add(
    "GET",
    "/subscriptions/revenue",
    answer=shown(list[RevenueDay]),
    queries=(Query("days", f"How many; at most {REVENUE_DAYS_MAX}", number_schema(1)),),
)
async def coming_revenue(call: Call) -> Any:
    """What renewals bring on each of the next days, today first; overdue ones count today."""
    days = query_number(call.request, "days", REVENUE_DAYS, low=1, high=REVENUE_DAYS_MAX)
    return show(
        await call.services.bridge.run(lambda c, now: subscriptions.coming_revenue(c, now=now, days=days))
    )


@routes.add("GET", "/ledger-checks", answer=shown(list[LedgerCheck]), queries=PAGE)
async def ledger_checks(call: Call) -> Any:
    """The ledger checks that were made, the newest first, with every fact and what breaks it."""
    limit, offset = limit_of(call.request), offset_of(call.request)
    return show(
        await call.services.bridge.run(lambda c, _now: operators.list_checks(c, limit=limit, offset=offset))
    )


@routes.add(
    "GET",
    "/audit",
    answer=shown(list[AuditRecord]),
    queries=(
        text_query("actor", "Who did it"),
        choice_query("action", "What was done", Action),
        text_query("subject", "What it was done to"),
        text_query("userId", "Whom it concerns"),
        *PERIOD,
        *BEFORE,
    ),
)
async def audit_records(call: Call) -> Any:
    """Who did what, when, to whom and why; the newest first."""
    request = call.request
    action = query_choice(request, "action", Action)
    wanted = AuditFilter(
        actor=query_text(request, "actor"),
        action=None if action is None else action.value,
        subject=query_text(request, "subject"),
        user_id=query_text(request, "userId"),
        since=query_time(request, "since"),
        until=query_time(request, "until"),
        before=query_uuid(request, "before"),
        limit=limit_of(request),
    )
    return show(await call.services.bridge.run(lambda c, _now: operators.list_audit(c, wanted)))


def run_billing(_call: Call) -> Command:
    """Charge or pause everybody who is due, now; each period is charged once, however many runs there are."""
    return RunBilling()


def run_ledger_check(_call: Call) -> Command:
    """Check every fact of the ledger, now; the result is among the ledger checks."""
    return RunLedgerCheck()


def rebuild_usage(_call: Call) -> Command:
    """Derive the usage statistics anew from the entries; deductions wait while it runs."""
    return RebuildUsage()


add_action(routes, "/billing/run", run_billing)
add_action(routes, "/ledger-checks/run", run_ledger_check)
add_action(routes, "/usage/rebuild", rebuild_usage)
