"""What other services ask for and may take a moment: refunds."""

from __future__ import annotations

from domain import spending
from domain.jobs import Handler, Once
from domain.spending import RefundCredits
from workers.parts import Parts


def handlers(_parts: Parts) -> list[Handler]:
    """Refunds touch the ledger alone."""
    return [
        Once(RefundCredits, lambda connection, job, now: spending.refund(connection, job.refund, now=now))
    ]
