"""What there is to buy, and what there was."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select

from domain.errors import PackageNotFound
from domain.tables import packages


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Something to buy: `credits` whole credits for `price_euro_cents`."""

    id: UUID
    name: str
    description: str | None
    credits: int
    price_euro_cents: int
    stripe_price_id: str | None
    active: bool
    sort_order: int
    metadata: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime


def package_from_row(row: Row[Any]) -> Package:
    """A Package from its row."""
    return Package(**row._asdict())


def active_packages(connection: Connection) -> list[Package]:
    """What is for sale, in the order of `sort_order`."""
    query = select(packages).where(packages.c.active).order_by(packages.c.sort_order, packages.c.id)
    return [package_from_row(row) for row in connection.execute(query)]


def all_packages(connection: Connection) -> list[Package]:
    """What is and was for sale, in the order of `sort_order`."""
    query = select(packages).order_by(packages.c.sort_order, packages.c.id)
    return [package_from_row(row) for row in connection.execute(query)]


def for_sale(connection: Connection, package_id: UUID) -> Package:
    """A package that somebody is about to buy; its price stays until the transaction ends.

    Raises PackageNotFound for one that is not for sale.
    """
    query = select(packages).where(packages.c.id == package_id, packages.c.active)
    row = connection.execute(query.with_for_update(read=True, key_share=True)).one_or_none()
    if row is None:
        raise PackageNotFound
    return package_from_row(row)
