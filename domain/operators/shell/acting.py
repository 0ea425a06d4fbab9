"""Commands that act: each shows what would change, asks, does it, and is audited."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import UUID, uuid4

import typer
from rich.progress import Progress

from domain.amounts import NotAnAmount, parse_amount
from domain.operators.acting import Command, perform
from domain.operators.adjusting import AdjustCredits, Direction
from domain.operators.commands import (
    AskStripe,
    CancelJob,
    GiftSync,
    RebuildUsage,
    ReplayEvent,
    RetryFailedJobs,
    RetryJob,
    RevokeSync,
    RunBilling,
)
from domain.operators.erasing import ErasePerson
from domain.operators.shell.frame import shell

Reason = typer.Option(..., "--reason", "-r", help="Why, for the audit.")
Yes = typer.Option(False, "--yes", "-y", help="Do not ask.")
Amount = typer.Argument(..., help="Credits: above zero gives, below zero (after --) takes back.")
Key = typer.Option(None, help="Makes it take effect once; a new one without it.")
MayOverdraw = typer.Option(False, "--may-overdraw", help="Taking back may leave a debt.")
DryRun = typer.Option(False, "--dry-run", "-n", help="Only show what would change.")


def add_to(app: typer.Typer) -> None:
    """Make them commands."""
    commands: tuple[Callable[..., None], ...] = (
        *(retry, cancel, retry_failed, adjust, replay, ask_stripe),
        *(gift_sync, revoke_sync, erase, run_billing, rebuild_usage),
    )
    for command in commands:
        app.command(command.__name__.replace("_", "-"))(command)


def retry(job_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Let a job that ended without effect run again."""
    shell().act(RetryJob(job_id=job_id), reason=reason, yes=yes, dry_run=dry_run)


def cancel(job_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """End a waiting job without working on it."""
    shell().act(CancelJob(job_id=job_id), reason=reason, yes=yes, dry_run=dry_run)


def retry_failed(kind: str, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Let all failed jobs of a kind run again."""
    act_in_pieces(
        RetryFailedJobs(kind=kind), did="retried", of="failed jobs", reason=reason, yes=yes, dry_run=dry_run
    )


def act_in_pieces(command: Command, *, did: str, of: str, reason: str, yes: bool, dry_run: bool) -> None:
    """Do a command that does so many at once until none is left: its facts are how many it `did`, and `left`."""
    done = shell().act(command, reason=reason, yes=yes, dry_run=dry_run)
    if done is None or not done.facts["left"]:
        return
    left = done.facts["left"]
    with Progress(console=shell().err) as progress:
        task = progress.add_task(of, total=left)
        while left:
            with shell().connection() as connection:
                more = perform(connection, command, by=shell().operator, reason=reason, now=shell().clock())
            if not more.facts[did]:
                break
            left = more.facts["left"]
            progress.advance(task, more.facts[did])


def adjust(
    user_id: str,
    amount: str = Amount,
    *,
    reason: str = Reason,
    key: str | None = Key,
    may_overdraw: bool = MayOverdraw,
    yes: bool = Yes,
    dry_run: bool = DryRun,
) -> None:
    """Give a person credits, or take them back, up to OPS_ADJUST_MAX."""
    try:
        size = parse_amount(Decimal(amount.removeprefix("-")), whole=False)
    except (NotAnAmount, ArithmeticError) as error:
        shell().fail(f"the amount {error}" if isinstance(error, NotAnAmount) else "the amount is no number")
        return
    command = AdjustCredits(
        user_id=user_id,
        direction=Direction.TAKE_BACK if amount.startswith("-") else Direction.GRANT,
        amount=size,
        key=key or str(uuid4()),
        ceiling=shell().settings.ops_adjust_max,
        may_overdraw=may_overdraw,
    )
    shell().act(command, reason=reason, yes=yes, dry_run=dry_run)


def replay(event_id: str, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Handle an event of Stripe's again."""
    shell().act(ReplayEvent(event_id=event_id), reason=reason, yes=yes, dry_run=dry_run)


def ask_stripe(purchase_id: UUID, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Ask Stripe now what became of a purchase."""
    shell().act(AskStripe(purchase_id=purchase_id), reason=reason, yes=yes, dry_run=dry_run)


def gift_sync(user_id: str, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Give a person sync for nothing, until it is revoked."""
    shell().act(GiftSync(user_id=user_id), reason=reason, yes=yes, dry_run=dry_run)


def revoke_sync(user_id: str, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Take a gift of sync back."""
    shell().act(RevokeSync(user_id=user_id), reason=reason, yes=yes, dry_run=dry_run)


def erase(user_id: str, reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Erase a person's data; it cannot be undone."""
    shell().act(ErasePerson(user_id=user_id), reason=reason, yes=yes, dry_run=dry_run)


def run_billing(reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Charge or pause everybody who is due, now."""
    shell().act(RunBilling(), reason=reason, yes=yes, dry_run=dry_run)


def rebuild_usage(reason: str = Reason, yes: bool = Yes, dry_run: bool = DryRun) -> None:
    """Derive the usage statistics anew from the entries."""
    shell().act(RebuildUsage(), reason=reason, yes=yes, dry_run=dry_run)
