"""Purchases, from the intent to the ledger, and Stripe's events."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from domain import operators
from domain.operators import EventFilter, PurchaseFilter
from domain.operators.rows import PAGE_DEFAULT
from web.bodies import path_uuid
from web.operators.pages import Visit
from web.operators.views.jobs import Link
from web.operators.words import in_query


class PurchaseStatus(StrEnum):
    """The states of a purchase."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class YesOrNo(StrEnum):
    """A question in a filter."""

    YES = "yes"
    NO = "no"


def _is(answer: YesOrNo | None) -> bool | None:
    return None if answer is None else answer is YesOrNo.YES


async def purchases(visit: Visit) -> web.StreamResponse:
    """GET /ops/purchases."""
    asked = visit.asked
    wanted = PurchaseFilter(
        user_id=asked.text("user"),
        status=asked.choice("status", PurchaseStatus),
        has_problem=_is(asked.choice("problem", YesOrNo)),
        since=asked.instant("since"),
        until=asked.instant("until"),
        offset=asked.offset(),
    )
    found = await visit.read(lambda connection, _now: operators.list_purchases(connection, wanted))
    return visit.show("purchases.html", purchases=found, statuses=list(PurchaseStatus), size=PAGE_DEFAULT)


async def purchase(visit: Visit) -> web.StreamResponse:
    """GET /ops/purchases/{id}."""
    purchase_id = path_uuid(visit.request, "id")
    seen = await visit.read(lambda connection, _now: operators.purchase_seen(connection, purchase_id))
    return visit.show("purchase.html", seen=seen)


async def events(visit: Visit) -> web.StreamResponse:
    """GET /ops/events."""
    asked = visit.asked
    wanted = EventFilter(
        type=asked.text("type"),
        is_handled=_is(asked.choice("handled", YesOrNo)),
        payment_intent_id=asked.text("intent"),
        purchase_id=asked.uuid("purchase"),
        since=asked.instant("since"),
        until=asked.instant("until"),
        offset=asked.offset(),
    )
    found = await visit.read(lambda connection, _now: operators.list_events(connection, wanted))
    return visit.show("events.html", events=found, size=PAGE_DEFAULT)


async def event(visit: Visit) -> web.StreamResponse:
    """GET /ops/events/one, with the event as `id`."""
    event_id = visit.asked.needed("id")
    seen = await visit.read(lambda connection, _now: operators.event_seen(connection, event_id))
    links: list[Link] = []
    if seen.event.purchase_id is not None:
        links.append(("Its purchase", f"/ops/purchases/{seen.event.purchase_id}"))
    if seen.event.payment_intent_id is not None:
        intent = in_query(seen.event.payment_intent_id)
        links.append(("All events of the payment", f"/ops/events?intent={intent}"))
    return visit.show("event.html", seen=seen, links=links)
