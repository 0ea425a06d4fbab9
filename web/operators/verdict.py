"""Is people's money safe: one line, with the reasons, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from domain.operators import Overview
from domain.operators.health import CHECK_STALE_AFTER, LATE_SECONDS


class Level(IntEnum):
    """How bad it is."""

    GOOD = 0
    WARN = 1
    BAD = 2

    @property
    def look(self) -> str:
        """The class of its colours."""
        return self.name.lower()


@dataclass(frozen=True)
class Reason:
    """What somebody should look at, and where."""

    level: Level
    says: str
    url: str


@dataclass(frozen=True)
class Verdict:
    """The line and its reasons."""

    level: Level
    says: str
    reasons: list[Reason]


def verdict(seen: Overview | None, *, is_redis_up: bool) -> Verdict:
    """What to say.  `seen` is None while PostgreSQL does not answer."""
    if seen is None:
        says = "PostgreSQL does not answer: nothing can be spent, bought or seen"
        kept = "What was answered before is committed to disk, and nothing is lost"
        reasons = [Reason(Level.BAD, kept, "/ready")]
        if not is_redis_up:
            reasons.append(Reason(Level.BAD, "Redis does not answer either", "/ready"))
        return Verdict(Level.BAD, says, reasons)
    reasons = sorted(_reasons(seen, is_redis_up=is_redis_up), key=lambda reason: -reason.level)
    level = max((reason.level for reason in reasons), default=Level.GOOD)
    return Verdict(level, _line(seen, level), reasons)


def _line(seen: Overview, level: Level) -> str:
    check = seen.last_check
    if check is not None and check.violation_count:
        return "The books do not add up: look at the ledger check now"
    if check is None:
        return "Nobody knows yet: the ledger was never checked"
    if level is Level.BAD:
        return "The books add up, but work stands still"
    if level is Level.WARN:
        return "The books add up; somebody should look at this"
    return "People's money is safe"


def _reasons(seen: Overview, *, is_redis_up: bool) -> list[Reason]:
    told = [*_of_ledger(seen), *_of_processes(seen), *_of_work(seen)]
    if not is_redis_up:
        says = "Redis does not answer: jobs wait in PostgreSQL until it is back; spending goes on"
        told.append((Level.BAD, True, says, "/ops/queues"))
    return [Reason(level, says, url) for level, is_so, says, url in told if is_so]


Told = tuple[Level, bool, str, str]


def _of_ledger(seen: Overview) -> list[Told]:
    check = seen.last_check
    url = "/ops/ledger"
    if check is None:
        return [(Level.WARN, True, "The ledger was never checked", url)]
    broken = [one.name for one in check.findings if one.violation_count]
    is_old = seen.at - check.checked_at > CHECK_STALE_AFTER
    return [
        (
            Level.BAD,
            check.violation_count > 0,
            f"{check.violation_count} violations: {', '.join(broken)}",
            url,
        ),
        (Level.WARN, is_old, "The last ledger check is more than two hours old", url),
    ]


def _of_processes(seen: Overview) -> list[Told]:
    alive = seen.processes
    return [
        (
            Level.BAD,
            not alive.workers,
            "No worker is alive: purchases, refunds and gifts wait",
            "/ops/jobs?state=waiting",
        ),
        (
            Level.WARN,
            alive.leader is None,
            "No scheduler leads: renewals and checks do not begin",
            "/ops/subscriptions",
        ),
        (
            Level.WARN,
            seen.stripe.is_silent and seen.stripe.event_at is not None,
            "Stripe has not been heard for a quarter of an hour",
            "/ops/events",
        ),
    ]


def _of_work(seen: Overview) -> list[Told]:
    failed = [kind for kind in seen.jobs if kind.failed]
    late = [kind for kind in seen.jobs if (kind.oldest_due_seconds or 0) > LATE_SECONDS]
    failed_count = sum(kind.failed for kind in failed)
    renewals = seen.renewals
    return [
        (
            Level.WARN,
            bool(failed),
            f"{failed_count:,} {_plural(failed_count, 'job')} failed: {_kinds([kind.kind for kind in failed])}",
            "/ops/jobs?state=failed",
        ),
        (
            Level.WARN,
            bool(late),
            f"Jobs are late: {_kinds([kind.kind for kind in late])}",
            "/ops/jobs?state=waiting",
        ),
        (
            Level.WARN,
            renewals.overdue > 0,
            f"{renewals.overdue:,} {_plural(renewals.overdue, 'renewal')} overdue",
            "/ops/subscriptions?state=overdue",
        ),
        (
            Level.WARN,
            renewals.problems > 0,
            f"{renewals.problems:,} {_plural(renewals.problems, 'subscription')} could not be charged",
            "/ops/subscriptions?state=problem",
        ),
        (
            Level.WARN,
            seen.webhooks.disabled > 0,
            f"{seen.webhooks.disabled:,} webhook {_plural(seen.webhooks.disabled, 'endpoint')} disabled after failing",
            "/ops/webhooks",
        ),
    ]


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _kinds(names: list[str]) -> str:
    shown = ", ".join(name.replace("_", " ") for name in names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"
