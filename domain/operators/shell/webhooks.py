"""Commands about webhooks to apps: what they are told, and what can be done when one is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import typer

from domain.operators.shell.acting import DryRun, Reason, Yes, act_in_pieces
from domain.operators.shell.frame import facts_table, rows_table, shell
from domain.operators.shell.looking import Before, Limit, Since, Until, utc, utc_if_given
from domain.operators.webhook_commands import (
    EnableWebhook,
    PauseWebhook,
    RedeliverFailedWebhooks,
    RedeliverWebhook,
    TestWebhook,
)
from domain.operators.webhooks_seen import (
    DeliveryFilter,
    DeliveryState,
    delivery_seen,
    list_deliveries,
    list_endpoints,
)

SinceWhen = typer.Option(
    ..., "--since", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="Of events from then on; UTC."
)


def add_to(app: typer.Typer) -> None:
    """Make them commands."""
    commands: tuple[Callable[..., None], ...] = (
        *(webhooks, deliveries, delivery),
        *(try_webhook, pause_webhook, enable_webhook, redeliver, redeliver_failed),
    )
    for command in commands:
        app.command(command.__name__.replace("_", "-"))(command)


def webhooks() -> None:
    """Endpoints of apps, with what waits for each and what was given up."""
    with shell().connection() as connection:
        found = list_endpoints(connection, now=shell().clock())
    columns = (
        "id",
        "app_id",
        "url",
        "state",
        "state_reason",
        "failing_since",
        "deliveries_waiting",
        "deliveries_failed",
    )
    shell().show(found, lambda: rows_table("Endpoints", found, columns))


def deliveries(
    endpoint_id: UUID,
    *,
    state: DeliveryState | None = None,
    user: str | None = None,
    type: str | None = None,  # noqa: A002 - the option's name
    since: datetime | None = Since,
    until: datetime | None = Until,
    before: UUID | None = Before,
    limit: int = Limit,
) -> None:
    """What an endpoint was or will be sent, the newest event first."""
    wanted = DeliveryFilter(
        endpoint_id=endpoint_id, state=state, user_id=user, type=type,
        since=utc_if_given(since), until=utc_if_given(until), before=before, limit=limit,
    )  # fmt: skip
    with shell().connection() as connection:
        found = list_deliveries(connection, wanted)
    columns = ("id", "type", "user_id", "state", "attempts", "created_at", "next_attempt_at", "last_error")
    shell().show(found, lambda: rows_table("Deliveries", found, columns))


def delivery(delivery_id: UUID) -> None:
    """Everything about one delivery."""
    with shell().connection() as connection:
        seen = delivery_seen(connection, delivery_id)
    if shell().prints_json:
        shell().show(seen)
        return
    line = seen.delivery
    facts = {name: getattr(line, name) for name in line.__struct_fields__}
    shell().out.print(facts_table(f"{seen.app_id}: {seen.url}", {**facts, "data": seen.data}))
    shell().out.print(rows_table("Attempts", seen.tried, ("at", "seconds", "status", "error", "answer")))


def try_webhook(endpoint_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Send an endpoint a test event, which concerns nobody."""
    shell().act(TestWebhook(endpoint_id=endpoint_id), reason=reason, yes=yes, dry_run=dry_run)


def pause_webhook(endpoint_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Send an endpoint nothing until it is enabled; what happens meanwhile it is not told of."""
    shell().act(PauseWebhook(endpoint_id=endpoint_id), reason=reason, yes=yes, dry_run=dry_run)


def enable_webhook(endpoint_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Send an endpoint events again, and at once what waits."""
    shell().act(EnableWebhook(endpoint_id=endpoint_id), reason=reason, yes=yes, dry_run=dry_run)


def redeliver(delivery_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Send one delivery again, whatever became of it; one that waits, now."""
    shell().act(RedeliverWebhook(delivery_id=delivery_id), reason=reason, yes=yes, dry_run=dry_run)


def redeliver_failed(
    endpoint_id: UUID,
    since: datetime = SinceWhen,
    reason: str = Reason,
    yes: bool = Yes,
    dry_run: bool = DryRun,
) -> None:
    """Send an endpoint again all that was given up."""
    command = RedeliverFailedWebhooks(endpoint_id=endpoint_id, since=utc(since))
    act_in_pieces(command, did="redelivered", of="failed deliveries", reason=reason, yes=yes, dry_run=dry_run)
