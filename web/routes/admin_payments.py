"""Stripe's events and purchases, as administrators see and steer them."""

from __future__ import annotations

from typing import Any

from domain import operators
from domain.errors import PurchaseNotFound, PurchaseSettled, StripeEventNotFound
from domain.operators.acting import Command
from domain.operators.commands import AskStripe, ReplayEvent
from domain.operators.payments_seen import (
    EventFilter,
    EventLine,
    EventSeen,
    PurchaseFilter,
    PurchaseLine,
    PurchaseSeen,
    PurchaseStatus,
)
from web.bodies import path_text, path_uuid
from web.operators.actions import add_action
from web.operators.queries import (
    PAGE,
    PERIOD,
    choice_query,
    flag_query,
    limit_of,
    offset_of,
    query_choice,
    query_flag,
    query_text,
    query_time,
    query_uuid,
    text_query,
)
from web.operators.wire import show, shown
from web.routing import Access, Call, Query, Routes

routes = Routes("/api/v1/admin", Access.ADMIN, "Operators")


@routes.add(
    "GET",
    "/events",
    answer=shown(list[EventLine]),
    queries=(
        text_query("type", "Stripe's type of event"),
        flag_query("handled", "Whether it was handled; false: it waits, or failed"),
        text_query("paymentIntentId", "The payment it is about"),
        Query("purchaseId", "The purchase it is about", {"type": "string", "format": "uuid"}),
        *PERIOD,
        *PAGE,
    ),
)
async def list_events(call: Call) -> Any:
    """Stripe's events that match all that is given, those received last first."""
    request = call.request
    wanted = EventFilter(
        type=query_text(request, "type"),
        is_handled=query_flag(request, "handled"),
        payment_intent_id=query_text(request, "paymentIntentId"),
        purchase_id=query_uuid(request, "purchaseId"),
        since=query_time(request, "since"),
        until=query_time(request, "until"),
        offset=offset_of(request),
        limit=limit_of(request),
    )
    return show(await call.services.bridge.run(lambda c, _now: operators.list_events(c, wanted)))


@routes.add("GET", "/events/{eventId}", answer=shown(EventSeen), refusals=(StripeEventNotFound,))
async def one_event(call: Call) -> Any:
    """One event: its payload without what tells who somebody is, and the jobs that handled it."""
    event_id = path_text(call.request, "eventId")
    return show(await call.services.bridge.run(lambda c, _now: operators.event_seen(c, event_id)))


def replay_event(call: Call) -> Command:
    """Handle an event again: what it does follows from the purchase's state, so that nothing happens twice."""
    return ReplayEvent(event_id=path_text(call.request, "eventId"))


@routes.add(
    "GET",
    "/purchases",
    answer=shown(list[PurchaseLine]),
    queries=(
        text_query("userId", "Who buys"),
        choice_query("status", "Their state", PurchaseStatus),
        flag_query("problem", "Whether a person has to look at it"),
        *PERIOD,
        *PAGE,
    ),
)
async def list_purchases(call: Call) -> Any:
    """Purchases that match all that is given, those begun last first."""
    request = call.request
    status = query_choice(request, "status", PurchaseStatus)
    wanted = PurchaseFilter(
        user_id=query_text(request, "userId"),
        status=None if status is None else status.value,
        has_problem=query_flag(request, "problem"),
        since=query_time(request, "since"),
        until=query_time(request, "until"),
        offset=offset_of(request),
        limit=limit_of(request),
    )
    return show(await call.services.bridge.run(lambda c, _now: operators.list_purchases(c, wanted)))


@routes.add("GET", "/purchases/{id}", answer=shown(PurchaseSeen), refusals=(PurchaseNotFound,))
async def one_purchase(call: Call) -> Any:
    """One purchase from the intent to the ledger: its events, jobs, entries, what went back, and the timeline."""
    purchase_id = path_uuid(call.request, "id")
    return show(await call.services.bridge.run(lambda c, _now: operators.purchase_seen(c, purchase_id)))


def ask_stripe(call: Call) -> Command:
    """Ask Stripe now what became of a purchase that is not settled."""
    return AskStripe(purchase_id=path_uuid(call.request, "id"))


add_action(routes, "/events/{eventId}/replay", replay_event, refusals=(StripeEventNotFound,))
add_action(routes, "/purchases/{id}/ask", ask_stripe, refusals=(PurchaseNotFound, PurchaseSettled))
