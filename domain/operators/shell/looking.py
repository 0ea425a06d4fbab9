"""Commands that look."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import typer
from rich.progress import Progress
from rich.table import Table

from domain import ledger_checks
from domain import operators as read
from domain.database import transaction
from domain.jobs import JobState
from domain.logins import hash_password
from domain.operators import exporting, figures
from domain.operators.audit import AuditFilter
from domain.operators.exporting import ExportFormat, Selection
from domain.operators.figures import DAYS_MAX, DAYS_SHOWN, SUMMED
from domain.operators.jobs_seen import JobFilter
from domain.operators.overview import Overview
from domain.operators.payments_seen import EventFilter, PurchaseFilter
from domain.operators.people import Person, PersonList, list_of
from domain.operators.rows import PAGE_DEFAULT
from domain.operators.shell.frame import cell, facts_table, rows_table, shell
from domain.operators.subscriptions import REVENUE_DAYS, REVENUE_DAYS_MAX, SubscriptionState

Limit = typer.Option(PAGE_DEFAULT, min=1, max=500, help="How many.")
Before = typer.Option(None, help="Continue after this job.")
Offset = typer.Option(0, min=0, help="How many to pass over.")
Only = typer.Option(None, help="One list alone, page by page.")
File = typer.Argument(None, help="Where to; standard output without it.")
Since = typer.Option(None, formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="From then on; UTC.")
Until = typer.Option(None, formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="Before then; UTC.")


def add_to(app: typer.Typer) -> None:
    """Make them commands."""
    for command in (
        overview, days, jobs, job, find, person, purchases, purchase, events, event, subscriptions, revenue,
        check, checks, audit, export,
    ):  # fmt: skip
        app.command()(command)
    app.command("hash-password")(hash_password_command)


def overview() -> None:
    """Is people's money safe?"""
    with shell().connection() as connection:
        seen = read.overview(connection, now=shell().clock())
    if shell().prints_json:
        shell().show(seen)
        return
    for table in _overview_tables(seen):
        shell().out.print(table)


def _overview_tables(seen: Overview) -> list[Table]:
    checked = seen.last_check
    words = {
        "worries": "; ".join(seen.worries) or "none",
        "processes": f"web {seen.processes.web}, workers {seen.processes.workers},"
        f" scheduler {'leads' if seen.processes.leader else 'MISSING'}",
        "Stripe last heard": seen.stripe.event_at,
        "ledger check": "never"
        if checked is None
        else f"{cell(checked.checked_at)}, {checked.violation_count} wrong",
        "deductions a second": seen.deductions.per_second,
        "with people": seen.now.with_people,
        "in reservations": seen.now.in_reservations,
        "in gifts": seen.now.in_gifts,
        "renewals due / overdue": f"{seen.renewals.due} / {seen.renewals.overdue}",
    }
    kinds = ("kind", "waiting", "running", "retrying", "failed", "refused", "done", "oldest_due_seconds")
    days = (
        "day",
        "entries",
        "sold",
        "taken_back",
        "spent",
        "refunded",
        "granted",
        "gifts_made",
        "gifts_received",
    )
    return [
        facts_table("Overview", words),
        rows_table("Jobs", seen.jobs, kinds),
        rows_table("Last days", seen.days[-7:], days),
    ]


def days(count: int = typer.Argument(DAYS_SHOWN, min=1, max=DAYS_MAX, help="How many.")) -> None:
    """What happened to credits on each of the last days, today last."""
    with shell().connection() as connection:
        found = figures.by_day(connection, now=shell().clock(), days=count)
    shell().show(found, lambda: rows_table("Days", found, ("day", *SUMMED)))


def revenue(
    count: int = typer.Argument(REVENUE_DAYS, min=1, max=REVENUE_DAYS_MAX, help="How many."),
) -> None:
    """What renewals bring on each of the next days, today first."""
    with shell().connection() as connection:
        found = read.coming_revenue(connection, now=shell().clock(), days=count)
    shell().show(found, lambda: rows_table("Renewals", found, ("day", "renewals", "expected", "covered")))


def checks(limit: int = Limit, offset: int = Offset) -> None:
    """The ledger checks that were made, the newest first."""
    with shell().connection() as connection:
        found = read.list_checks(connection, limit=limit, offset=offset)
    columns = ("checked_at", "violation_count", "took_seconds")
    shell().show(found, lambda: rows_table("Ledger checks", found, columns))


def jobs(
    *,
    kind: str | None = None,
    state: JobState | None = None,
    user: str | None = None,
    subject: str | None = None,
    since: datetime | None = Since,
    until: datetime | None = Until,
    before: UUID | None = Before,
    limit: int = Limit,
) -> None:
    """Jobs that match, those added last first."""
    wanted = JobFilter(
        kind=kind, state=state, user_id=user, subject=subject,
        since=utc_if_given(since), until=utc_if_given(until), before=before, limit=limit,
    )  # fmt: skip
    with shell().connection() as connection:
        found = read.list_jobs(connection, wanted)
    columns = ("id", "kind", "state", "user_id", "created_at", "attempts", "last_error")
    shell().show(found, lambda: rows_table("Jobs", found, columns))


def job(job_id: UUID) -> None:
    """Everything about one job."""
    with shell().connection() as connection:
        seen = read.job_seen(connection, job_id)
    facts = {name: getattr(seen.job, name) for name in seen.job.__struct_fields__}
    shell().show(seen, lambda: facts_table(seen.job.kind, facts))


def find(key: str) -> None:
    """People, by user id, e-mail address, gift code, or the id of an entry, a payment and so on."""
    with shell().connection() as connection:
        found = read.find(connection, key)
    shell().show(found, lambda: rows_table("People", found, ("user_id", "by", "says")))


def person(
    user_id: str,
    only: PersonList | None = Only,
    limit: int = Limit,
    offset: int = Offset,
) -> None:
    """Everything about one person."""
    if only is not None:
        with shell().connection() as connection:
            rows = list_of(connection, user_id, only, now=shell().clock(), limit=limit, offset=offset)
        title = only.value.replace("-", " ")
        shell().show(rows, lambda: rows_table(title, rows, _PERSON_LISTS[title.replace(" ", "_")]))
        return
    with shell().connection() as connection:
        seen = read.person(connection, user_id, now=shell().clock())
    if shell().prints_json:
        shell().show(seen)
        return
    for table in _person_tables(seen):
        shell().out.print(table)


_PERSON_LISTS: Final = {
    "entries": ("created_at", "type", "amount", "balance_after", "app_id", "description"),
    "purchases": (
        "created_at",
        "status",
        "credits",
        "price_euro_cents",
        "stripe_payment_intent_id",
        "problem",
    ),
    "gifts_made": ("created_at", "code", "total_credits", "status", "expires_at"),
    "gifts_received": ("created_at", "code", "credits_received"),
    "reservations": ("created_at", "amount", "status", "reason", "expires_at"),
    "jobs": ("created_at", "kind", "state", "attempts", "last_error"),
    "usage": ("app_id", "credits_used", "days", "last_day"),
    "audit": ("at", "actor", "action", "reason", "outcome"),
}


def _person_tables(seen: Person) -> list[Table]:
    balance: Any = seen.balance
    facts = (
        {name: getattr(balance, name) for name in balance.__struct_fields__} if balance else {"balance": None}
    )
    facts["emails"] = ", ".join(seen.emails)
    tables = [facts_table(seen.user_id, facts)]
    if seen.subscription is not None:
        sync = seen.subscription
        tables.append(facts_table("sync", {name: getattr(sync, name) for name in sync.__struct_fields__}))
    for name, columns in _PERSON_LISTS.items():
        rows = getattr(seen, name)
        if rows:
            tables.append(rows_table(name.replace("_", " "), rows, columns))
    return tables


def purchases(
    user: str | None = None,
    status: str | None = None,
    problem: bool = typer.Option(False, "--problem", help="Those that a person has to look at."),
    limit: int = Limit,
) -> None:
    """Purchases, those begun last first."""
    wanted = PurchaseFilter(user_id=user, status=status, has_problem=True if problem else None, limit=limit)
    with shell().connection() as connection:
        found = read.list_purchases(connection, wanted)
    columns = ("id", "user_id", "created_at", "status", "credits", "price_euro_cents", "problem")
    shell().show(found, lambda: rows_table("Purchases", found, columns))


def purchase(purchase_id: UUID) -> None:
    """One purchase, from the intent to the ledger."""
    with shell().connection() as connection:
        seen = read.purchase_seen(connection, purchase_id)
    shell().show(seen, lambda: rows_table("Timeline", seen.timeline, ("at", "what", "says", "id")))


def events(
    type: str | None = None,  # noqa: A002 - the option's name
    unhandled: bool = typer.Option(False, "--unhandled", help="Those that wait or failed."),
    limit: int = Limit,
) -> None:
    """Stripe's events, those received last first."""
    wanted = EventFilter(type=type, is_handled=False if unhandled else None, limit=limit)
    with shell().connection() as connection:
        found = read.list_events(connection, wanted)
    columns = ("id", "type", "received_at", "handled_at", "outcome", "purchase_id")
    shell().show(found, lambda: rows_table("Events", found, columns))


def event(event_id: str) -> None:
    """One event of Stripe's, with its payload."""
    with shell().connection() as connection:
        seen = read.event_seen(connection, event_id)
    shell().show(seen)


def subscriptions(state: SubscriptionState = SubscriptionState.ACTIVE, limit: int = Limit) -> None:
    """Subscriptions in a state, those to be charged next first."""
    with shell().connection() as connection:
        found = read.list_subscriptions(connection, state, now=shell().clock(), limit=limit)
    columns = (
        "user_id",
        "interval",
        "price",
        "next_charge_at",
        "paused_at",
        "is_gifted",
        "balance",
        "problem",
    )
    shell().show(found, lambda: rows_table(f"Subscriptions: {state.value}", found, columns))


def check() -> None:
    """Check every fact of the ledger here and now, and keep the result; exit code 1 when one does not hold."""
    with shell().engine() as engine:
        waiting = nullcontext() if shell().prints_json else shell().err.status("checking the ledger")
        with waiting:
            checked = ledger_checks.check(engine)
        with transaction(engine) as connection:
            ledger_checks.record(connection, checked, now=shell().clock())
    columns = ("name", "says", "checked", "violation_count", "violations")
    shell().show(checked, lambda: rows_table("Facts", checked.findings, columns))
    if any(finding.violation_count for finding in checked.findings):
        raise typer.Exit(1)


def audit(
    *,
    actor: str | None = None,
    action: str | None = None,
    user: str | None = None,
    since: datetime | None = Since,
    until: datetime | None = Until,
    limit: int = Limit,
) -> None:
    """Who did what, when and why; the newest first."""
    wanted = AuditFilter(
        actor=actor,
        action=action,
        user_id=user,
        since=utc_if_given(since),
        until=utc_if_given(until),
        limit=limit,
    )
    with shell().connection() as connection:
        found = read.list_audit(connection, wanted)
    columns = ("at", "actor", "action", "subject", "user_id", "reason", "outcome")
    shell().show(found, lambda: rows_table("Audit", found, columns))


def export(
    file: Path | None = File,
    *,
    user: str | None = None,
    since: datetime | None = Since,
    until: datetime | None = Until,
    format: ExportFormat = ExportFormat.CSV,  # noqa: A002 - the option's name
) -> None:
    """Entries of a person or a period, streamed, as CSV or JSON lines."""
    selection = Selection(user_id=user, since=utc_if_given(since), until=utc_if_given(until))
    if user is None and (since is None or until is None):
        shell().fail("say whose (--user) or from when to when (--since, --until)")
    with shell().connection() as connection:
        exporting.record_export(connection, selection, format, by=shell().operator, now=shell().clock())
        total = exporting.count_selected(connection, selection)
    target = nullcontext(sys.stdout.buffer) if file is None else file.open("wb")
    with shell().connection() as connection, target as out, Progress(console=shell().err) as progress:
        task = progress.add_task("entries", total=total)
        for chunk in exporting.export(connection, selection, format):
            out.write(chunk)
            progress.advance(task, exporting.ROWS_PER_CHUNK)
        progress.update(task, completed=total)


def hash_password_command() -> None:
    """The hash of a password, which is asked for, for OPS_USERS."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        hashed = hash_password(password)
    except ValueError as error:
        shell().fail(str(error))
    else:
        shell().out.print(hashed, markup=False, highlight=False, soft_wrap=True)


def utc_if_given(instant: datetime | None) -> datetime | None:
    """The instant in UTC, where there is one."""
    return None if instant is None else utc(instant)


def utc(instant: datetime) -> datetime:
    """The instant in UTC, which it is in where it does not say."""
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
