"""Endpoints of apps and what is sent to them, as administrators make, see and steer them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from domain.errors import (
    TooManyWebhookEndpoints,
    WebhookAddressRefused,
    WebhookDeliveryNotFound,
    WebhookEndpointNotActive,
    WebhookEndpointNotFound,
    WebhookUrlTaken,
)
from domain.operators import webhooking, webhooks_seen
from domain.operators.acting import Command
from domain.operators.webhook_commands import (
    EnableWebhook,
    PauseWebhook,
    RedeliverFailedWebhooks,
    RedeliverWebhook,
    TestWebhook,
)
from domain.operators.webhooks_seen import (
    DeliveryFilter,
    DeliveryLine,
    DeliverySeen,
    DeliveryState,
    EndpointSeen,
)
from domain.webhooks import EventType
from domain.webhooks.addresses import URL_CHARACTERS_MAX, AddressRefused, AddressRules, check_reachable
from domain.webhooks.endpoints import Changes, ThresholdMissing, Wanted
from web.answers import Answer, Timestamp, timestamp
from web.bodies import Credits, IdempotencyKey, bad_field, path_uuid
from web.operators.actions import WHY, Reason, add_action, operator_of, stated_reason
from web.operators.queries import (
    BEFORE,
    PERIOD,
    choice_query,
    limit_of,
    query_choice,
    query_text,
    query_time,
    query_uuid,
    text_query,
)
from web.operators.wire import show, shown
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/admin/webhooks", Access.ADMIN, "Webhooks")

LOOKUP_SECONDS_MAX: Final = 5.0
"""How long the name server may take to say what a new address stands for."""

_lookups: Final = ThreadPoolExecutor(4, thread_name_prefix="lookup")
"""Threads of their own: a name server that does not answer holds up nothing else."""

WebhookAppId = Annotated[
    str,
    Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", examples=["chat"]),
]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=URL_CHARACTERS_MAX,
        description="Where it is told: https, a public host",
        examples=["https://chat.example.com/hooks/credits"],
    ),
]
Events = Annotated[
    list[EventType],
    Meta(min_length=1, max_length=len(EventType), description="What it listens to"),
]
Since = Annotated[datetime, Meta(tz=True, examples=["2026-11-01T00:00:00Z"])]
About = Annotated[str, Meta(max_length=200, examples=["production"])]
Secret = Annotated[
    str,
    Meta(
        description="What signs what is sent; told this once",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
    ),
]


class NewWebhookBody(msgspec.Struct, kw_only=True, rename="camel"):
    """An endpoint of an app, told from now on.  `lowBalanceThreshold` goes with `balance.low`."""

    app_id: WebhookAppId
    url: Url
    events: Events
    low_balance_threshold: Credits | None = None
    description: About | None = None


class ChangeWebhookBody(msgspec.Struct, kw_only=True, rename="camel"):
    """What is to be changed; what is absent stays."""

    url: Url | None = None
    events: Events | None = None
    low_balance_threshold: Credits | None = None
    description: About | None = None


class RedeliverFailedBody(msgspec.Struct, kw_only=True, rename="camel"):
    """From when on the events are that shall be sent again, and why."""

    since: Since
    reason: Reason
    idempotency_key: IdempotencyKey | None = None


class SinceBody(msgspec.Struct, kw_only=True, rename="camel"):
    """From when on."""

    since: Since


class MadeWebhookAnswer(Answer):
    """An endpoint that was made, and its secret."""

    endpoint: Annotated[shown(EndpointSeen), Meta(description="As it was made")]  # type: ignore[valid-type]
    secret: Secret


class RotatedWebhookAnswer(Answer):
    """A new secret; the old one signs too, until `previousSecretUntil`."""

    secret: Secret
    previous_secret_until: Timestamp


@routes.add("GET", "", answer=shown(list[EndpointSeen]))
async def list_endpoints(call: Call) -> Any:
    """All endpoints, by app, with what waits for each and what was given up."""
    return show(await call.services.bridge.run(lambda c, now: webhooks_seen.list_endpoints(c, now=now)))


@routes.add(
    "POST",
    "",
    body=NewWebhookBody,
    answer=MadeWebhookAnswer,
    status=201,
    refusals=(WebhookAddressRefused, WebhookUrlTaken, TooManyWebhookEndpoints),
    queries=WHY,
)
async def create_endpoint(call: Call) -> Any:
    """Make an endpoint.  The secret is in this answer and in no other: if it is lost, rotate."""
    body: NewWebhookBody = call.body
    await _check_address(call, body.url)
    wanted = Wanted(
        app_id=body.app_id,
        url=body.url,
        events=body.events,
        low_balance_threshold=body.low_balance_threshold,
        description=body.description,
    )
    by, reason = operator_of(call), stated_reason(call)

    def work(connection: Connection, now: datetime) -> tuple[EndpointSeen, str]:
        return webhooking.create_endpoint(connection, wanted, by=by, reason=reason, now=now)

    try:
        made, secret = await call.services.bridge.run(work)
    except ThresholdMissing as missing:
        raise _threshold(missing) from None
    return MadeWebhookAnswer(endpoint=show(made), secret=secret)


@routes.add("GET", "/{id}", answer=shown(EndpointSeen), refusals=(WebhookEndpointNotFound,))
async def one_endpoint(call: Call) -> Any:
    """One endpoint, without its secret."""
    endpoint_id = path_uuid(call.request, "id")
    return show(
        await call.services.bridge.run(lambda c, now: webhooks_seen.endpoint_seen(c, endpoint_id, now=now))
    )


@routes.add(
    "PATCH",
    "/{id}",
    body=ChangeWebhookBody,
    answer=shown(EndpointSeen),
    refusals=(WebhookEndpointNotFound, WebhookAddressRefused, WebhookUrlTaken),
    queries=WHY,
)
async def change_endpoint(call: Call) -> Any:
    """Change an endpoint.  What waits goes to its new address; a new threshold makes nobody cross it by itself."""
    body: ChangeWebhookBody = call.body
    endpoint_id = path_uuid(call.request, "id")
    if body.url is not None:
        await _check_address(call, body.url)
    changes = Changes(**{name: getattr(body, name) for name in Changes.__struct_fields__})
    by, reason = operator_of(call), stated_reason(call)

    def work(connection: Connection, now: datetime) -> EndpointSeen:
        return webhooking.change_endpoint(connection, endpoint_id, changes, by=by, reason=reason, now=now)

    try:
        return show(await call.services.bridge.run(work))
    except ThresholdMissing as missing:
        raise _threshold(missing) from None


@routes.add(
    "POST",
    "/{id}/rotate-secret",
    answer=RotatedWebhookAnswer,
    refusals=(WebhookEndpointNotFound,),
    queries=WHY,
)
async def rotate_secret(call: Call) -> Any:
    """Give an endpoint a new secret, told in this answer alone.  For 24 hours the old one signs beside it."""
    endpoint_id, by, reason = path_uuid(call.request, "id"), operator_of(call), stated_reason(call)
    rotated = await call.services.bridge.run(
        lambda c, now: webhooking.rotate_secret(c, endpoint_id, by=by, reason=reason, now=now)
    )
    return RotatedWebhookAnswer(
        secret=rotated.secret, previous_secret_until=timestamp(rotated.previous_secret_until)
    )


@routes.add(
    "DELETE",
    "/{id}",
    answer=shown(EndpointSeen),
    refusals=(WebhookEndpointNotFound,),
    queries=WHY,
)
async def remove_endpoint(call: Call) -> Any:
    """Remove an endpoint: nothing more is sent there, not even what waits.  The answer is how it was."""
    endpoint_id, by, reason = path_uuid(call.request, "id"), operator_of(call), stated_reason(call)
    return show(
        await call.services.bridge.run(
            lambda c, now: webhooking.remove_endpoint(c, endpoint_id, by=by, reason=reason, now=now)
        )
    )


@routes.add(
    "GET",
    "/{id}/deliveries",
    answer=shown(list[DeliveryLine]),
    refusals=(WebhookEndpointNotFound,),
    queries=(
        choice_query("state", "Their state", DeliveryState),
        text_query("userId", "Whom they concern"),
        text_query("type", "The type of event"),
        *PERIOD,
        *BEFORE,
    ),
)
async def list_deliveries(call: Call) -> Any:
    """An endpoint's deliveries that match all that is given, the newest event first."""
    request = call.request
    wanted = DeliveryFilter(
        endpoint_id=path_uuid(request, "id"),
        state=query_choice(request, "state", DeliveryState),
        user_id=query_text(request, "userId"),
        type=query_text(request, "type"),
        since=query_time(request, "since"),
        until=query_time(request, "until"),
        before=query_uuid(request, "before"),
        limit=limit_of(request),
    )
    return show(await call.services.bridge.run(lambda c, _now: webhooks_seen.list_deliveries(c, wanted)))


@routes.add(
    "GET", "/deliveries/{deliveryId}", answer=shown(DeliverySeen), refusals=(WebhookDeliveryNotFound,)
)
async def one_delivery(call: Call) -> Any:
    """One delivery: what is sent, and its newest attempts with what was answered."""
    delivery_id = path_uuid(call.request, "deliveryId")
    return show(await call.services.bridge.run(lambda c, _now: webhooks_seen.delivery_seen(c, delivery_id)))


def test_endpoint(call: Call) -> Command:
    """Send an endpoint an event `webhook.test`, which concerns nobody."""
    return TestWebhook(endpoint_id=path_uuid(call.request, "id"))


def pause_endpoint(call: Call) -> Command:
    """Send nothing until it is enabled: what waits goes on waiting, what happens meanwhile it is not told of."""
    return PauseWebhook(endpoint_id=path_uuid(call.request, "id"))


def enable_endpoint(call: Call) -> Command:
    """Send again, and at once what waits; also for one that was disabled, or that rests after failures."""
    return EnableWebhook(endpoint_id=path_uuid(call.request, "id"))


def redeliver_failed(call: Call) -> Command:
    """Send again what was given up, of events since then: the oldest thousand, `left` says how many there are still."""
    return RedeliverFailedWebhooks(endpoint_id=path_uuid(call.request, "id"), since=_since(call))


def redeliver(call: Call) -> Command:
    """Send one delivery again, whatever became of it, under the same id; one that waits, now."""
    return RedeliverWebhook(delivery_id=path_uuid(call.request, "deliveryId"))


_STOPPED: Final = (WebhookEndpointNotFound, WebhookEndpointNotActive)
add_action(routes, "/{id}/test", test_endpoint, refusals=_STOPPED)
add_action(routes, "/{id}/pause", pause_endpoint, refusals=_STOPPED)
add_action(routes, "/{id}/enable", enable_endpoint, refusals=(WebhookEndpointNotFound,))
add_action(
    routes,
    "/{id}/redeliver-failed",
    redeliver_failed,
    body=RedeliverFailedBody,
    preview_body=SinceBody,
    refusals=_STOPPED,
)
add_action(
    routes,
    "/deliveries/{deliveryId}/redeliver",
    redeliver,
    refusals=(WebhookDeliveryNotFound, WebhookEndpointNotActive),
)


def _since(call: Call) -> datetime:
    since: datetime = call.body.since
    if since.tzinfo is None:
        raise bad_field("since", "must have a zone, as in 2026-11-22T15:28:32.039Z")
    return since


def _threshold(missing: ThresholdMissing) -> Exception:
    return bad_field("lowBalanceThreshold", str(missing))


async def _check_address(call: Call, url: str) -> None:
    """What is true of it now; it is looked at again for each attempt.  Raises WebhookAddressRefused."""
    rules = AddressRules.of(call.services.settings)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS_MAX):
            await loop.run_in_executor(_lookups, check_reachable, url, rules)
    except AddressRefused as refused:
        raise WebhookAddressRefused(str(refused)) from None
    except TimeoutError:
        raise WebhookAddressRefused("names a host that no name server tells of in time") from None
