"""Erasing a person, as operators do it: what goes and what stays is domain.erasure's."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from sqlalchemy import Connection, text

from domain import erasure
from domain.operators.acting import Command, Effect, Facts
from domain.operators.audit import Action, Operator

_COUNTED: Final = text("""
    SELECT (SELECT count(*) FROM credits.transactions WHERE user_id = :user_id) AS entries,
           (SELECT count(*) FROM credits.purchases WHERE user_id = :user_id) AS purchases,
           (SELECT count(*) FROM credits.reservations WHERE user_id = :user_id) AS reservations,
           (SELECT count(*) FROM credits.reservations WHERE user_id = :user_id AND status = 'reserved')
               AS "openReservations",
           (SELECT count(*) FROM gifts.gift_codes WHERE creator_id = :user_id) AS "giftsMade",
           (SELECT count(*) FROM gifts.gift_codes WHERE creator_id = :user_id AND status = 'active')
               AS "activeGifts",
           (SELECT count(*) FROM credits.usage_stats WHERE user_id = :user_id) AS "usageRows",
           (SELECT count(*) FROM credits.sync_subscriptions WHERE user_id = :user_id) AS subscriptions,
           (SELECT count(*) FROM ops.jobs WHERE user_id = :user_id) AS jobs,
           (SELECT count(*) FROM ops.audit WHERE user_id = :user_id) AS "auditRecords",
           (SELECT balance FROM credits.balances WHERE user_id = :user_id) AS balance
""")


class ErasePerson(Command, frozen=True, kw_only=True):
    """Erase a person's data.  The ledger's amounts stay under a pseudonym; the credits left are lost to them."""

    action: ClassVar[Action] = Action.ERASE_PERSON
    user_id: str

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """What there is of the person."""
        return dict(connection.execute(_COUNTED, {"user_id": self.user_id}).mappings().one())

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """The record of it names the pseudonym alone.  Of somebody unknown nothing is erased: 0 rows."""
        erased = erasure.erase_as(connection, self.user_id, now=now)
        return Effect(
            outcome=f"{erased.row_count} rows erased or put under a pseudonym",
            facts={"rows": erased.row_count},
            subject=erased.pseudonym,
        )
