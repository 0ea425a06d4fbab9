"""House-keeping: expired reservations, old rows, the ledger check."""

from __future__ import annotations

from domain import idempotency, ledger_checks, upkeep
from domain.idempotency import ForgetOldAnswers, Forgotten
from domain.jobs import Handler, Outside, Steps
from domain.ledger_checks import CheckLedger
from domain.reservations import Released
from domain.upkeep import PruneOldRows, ReleaseExpiredReservations, Swept
from workers.parts import Parts


def handlers(parts: Parts) -> list[Handler]:
    """The check reads in a snapshot of its own, for seconds: like an outside call, in no transaction of ours."""
    return [
        Steps(ReleaseExpiredReservations, Released(), upkeep.release_expired),
        Steps(PruneOldRows, Swept(), upkeep.prune),
        Steps(ForgetOldAnswers, Forgotten(), idempotency.forget),
        Outside(
            CheckLedger,
            read=lambda _connection, job, _now: job,
            call=lambda _job, _key: ledger_checks.check(parts.engine),
            record=lambda connection, _job, checked, now: ledger_checks.record(connection, checked, now=now),
        ),
    ]
