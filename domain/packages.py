"""Packages: credits for sale, at a price in euro cents."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select

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


def active_packages(connection: Connection) -> list[Package]:
    """What is for sale, in the order of `sort_order`."""
    query = select(packages).where(packages.c.active).order_by(packages.c.sort_order, packages.c.id)
    return [Package(**row._asdict()) for row in connection.execute(query)]
