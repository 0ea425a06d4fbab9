"""The ledger checks that were made."""

from __future__ import annotations

from sqlalchemy import Connection, select

from domain.ledger_checks import LedgerCheck
from domain.operators.rows import PAGE_DEFAULT, all_as, page_size
from domain.tables import ledger_checks


def list_checks(connection: Connection, *, limit: int = PAGE_DEFAULT, offset: int = 0) -> list[LedgerCheck]:
    """A page of checks with their findings, the newest first."""
    query = (
        select(*(ledger_checks.c[name] for name in LedgerCheck.__struct_fields__))
        .order_by(ledger_checks.c.checked_at.desc())
        .limit(page_size(limit))
        .offset(max(offset, 0))
    )
    return all_as(connection, LedgerCheck, query)
