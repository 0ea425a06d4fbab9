"""Deductions by HTTP, counted: what was acknowledged is held against the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.measure import Pace
from bench.plan import Plan, Report
from bench.rig import SERVICE_KEY, USERS, Front, Rig

USE_PATH = "/api/v1/internal/credits/use"
USE_BODY = (
    '{"userId":"{user}","amount":2,"appId":"chat","description":"AI message",'
    '"idempotencyKey":"{key}","metadata":{"model":"small"}}'
)


class Counted:
    """Sends deductions to one front and keeps count, to hold it against the ledger.

    One that was sent and not answered (a generator hangs up at the end of its time) may be in the ledger or not.
    """

    def __init__(self, rig: Rig, front: Front, pace: Pace) -> None:
        self.rig, self.front, self.pace = rig, front, pace
        self.acknowledged = 0
        self.unanswered = 0
        self.unexpected: dict[str, int] = {}
        self.before = usage_entries(rig)

    def plan(
        self,
        *,
        connections: int = 32,
        users: int = USERS,
        first_user: int = 0,
        user_step: int = 1,
        rate: float = 0,
        seconds: float | None = None,
        tells_headers: bool = False,
    ) -> Plan:
        """POST internal/credits/use, for as long as a turn unless `seconds` says otherwise."""
        return Plan(
            port=self.front.port,
            method="POST",
            path=USE_PATH,
            headers={"X-Service-Key": SERVICE_KEY},
            body=USE_BODY,
            connections=connections,
            seconds=self.pace.seconds if seconds is None else seconds,
            users=users,
            first_user=first_user,
            user_step=user_step,
            rate=rate,
            tells_headers=tells_headers,
        )

    def send(self, plan: Plan, *, own: bool = False) -> Report:
        """Send and count."""
        return self.count(self.rig.send(plan, own=own))

    @contextmanager
    def beside(self, plan: Plan, *, own: bool = False) -> Iterator[list[Report]]:
        """Send while the block runs, and count."""
        with self.rig.beside(plan, own=own) as reports:
            yield reports
        self.count(reports[0])

    def count(self, report: Report) -> Report:
        """Remember what a report acknowledges."""
        self.acknowledged += report.ok
        self.unanswered += max(0, report.sent - report.answered)
        for status, count in report.statuses.items():
            if status != "200":
                self.unexpected[status] = self.unexpected.get(status, 0) + count
        return report

    def per_second(self, *, connections: int = 32, users: int = USERS, user_step: int = 1) -> float:
        """Deductions a second of a closed loop."""
        report = self.send(self.plan(connections=connections, users=users, user_step=user_step))
        return report.ok / report.seconds

    def checks(self, allowed: frozenset[str] = frozenset()) -> list[str]:
        """Every acknowledged deduction is in the ledger, and no more; no answer but 200 and `allowed`."""
        written = usage_entries(self.rig) - self.before
        return [
            books(self.acknowledged, self.unanswered, written),
            others(self.unexpected, allowed),
        ]


def books(acknowledged: int, unanswered: int, written: int) -> str:
    """What acknowledged deductions, and those never answered, say of the entries written."""
    is_right = acknowledged <= written <= acknowledged + unanswered
    return (
        f"{acknowledged:,} acknowledged, {unanswered:,} without an answer at the end, {written:,} entries:"
        f" {'right' if is_right else 'WRONG'}"
    )


def others(unexpected: dict[str, int], allowed: frozenset[str] = frozenset()) -> str:
    """Which answers came beside 200."""
    wrong = unexpected.keys() - allowed
    told = ", ".join(f"{status}: {count:,}" for status, count in sorted(unexpected.items())) or "none"
    return f"other answers: {told}{' WRONG' if wrong else ''}"


def usage_entries(rig: Rig) -> int:
    """How many usage entries there are."""
    return rig.count("credits.transactions WHERE type = 'usage'")
