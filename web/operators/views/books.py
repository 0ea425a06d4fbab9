"""Subscriptions, ledger checks, the audit, and entries as a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from aiohttp import web
from sqlalchemy import Connection

from domain import ledger_checks, operators
from domain.operators import Action, AuditFilter, SubscriptionState, exporting
from domain.operators.exporting import PERIOD_MAX, ExportFormat, Selection
from domain.operators.rows import PAGE_DEFAULT
from web.bodies import bad_field
from web.operators.asked import Asked
from web.operators.pages import Visit
from web.operators.streaming import stream
from web.routing import NOBODY, Call

CHECKS_SHOWN = 24


async def subscriptions(visit: Visit) -> web.StreamResponse:
    """GET /ops/subscriptions."""
    asked = visit.asked
    state = asked.choice("state", SubscriptionState) or SubscriptionState.DUE
    counts, found, revenue = await visit.read(
        lambda connection, now: (
            operators.renewals(connection, now=now),
            operators.list_subscriptions(connection, state, now=now, offset=asked.offset()),
            operators.coming_revenue(connection, now=now),
        )
    )
    return visit.show(
        "subscriptions.html",
        counts=counts,
        subscriptions=found,
        revenue=revenue,
        state=state.value,
        states=list(SubscriptionState),
        size=PAGE_DEFAULT,
    )


async def ledger(visit: Visit) -> web.StreamResponse:
    """GET /ops/ledger."""
    offset = visit.asked.offset()
    last, checks = await visit.read(
        lambda connection, _now: (
            ledger_checks.latest(connection),
            operators.list_checks(connection, limit=CHECKS_SHOWN, offset=offset),
        )
    )
    return visit.show("ledger.html", last=last, checks=checks, size=CHECKS_SHOWN)


async def audit(visit: Visit) -> web.StreamResponse:
    """GET /ops/audit."""
    asked = visit.asked
    action = asked.choice("action", Action)
    wanted = AuditFilter(
        actor=asked.text("actor"),
        action=None if action is None else action.value,
        subject=asked.text("subject"),
        user_id=asked.text("user"),
        since=asked.instant("since"),
        until=asked.instant("until"),
        before=asked.uuid("before"),
    )
    found = await visit.read(lambda connection, _now: operators.list_audit(connection, wanted))
    return visit.show("audit.html", records=found, actions=list(Action), size=PAGE_DEFAULT)


async def export(visit: Visit) -> web.StreamResponse:
    """POST /ops/export: entries of a person or of a period, as a file.  Viewers may; it is audited."""
    selection = _selection(visit.form)
    wanted = visit.form.choice("format", ExportFormat) or ExportFormat.CSV
    by = visit.signed_in.operator
    await visit.read(
        lambda connection, now: exporting.record_export(connection, selection, wanted, by=by, now=now)
    )

    def produce(connection: Connection, _now: datetime) -> Iterator[bytes]:
        return exporting.export(connection, selection, wanted)

    call = Call(visit.request, visit.services, NOBODY, None)
    return await stream(call, produce, content_type=wanted.content_type, filename=f"entries.{wanted.value}")


def _selection(form: Asked) -> Selection:
    selection = Selection(user_id=form.text("user"), since=form.instant("since"), until=form.instant("until"))
    since, until = selection.since, selection.until
    if selection.user_id is None and (since is None or until is None):
        raise bad_field("since and until", "are needed for a period")
    if since is not None and until is not None and not since < until <= since + PERIOD_MAX:
        raise bad_field("until", f"must be after since, by {PERIOD_MAX.days} days at most")
    return selection
