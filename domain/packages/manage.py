"""Packages are made, changed and taken off the shelf; what was sold keeps its price and its credits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.errors import PackageNotFound, PackageSold, StripePriceTaken
from domain.ids import new_id
from domain.packages.shelf import Package, package_from_row
from domain.tables import packages, purchases

CREDITS_MAX: Final = 100_000_000
"""A million euros' worth, at a cent a credit."""

PRICE_EURO_CENTS_MIN: Final = 50
PRICE_EURO_CENTS_MAX: Final = 99_999_999
"""What Stripe takes in euro (docs.stripe.com/currencies, minimum and maximum amounts)."""

SORT_ORDER_MAX: Final = 1_000_000


class NewPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package to be made."""

    name: str
    credits: int
    price_euro_cents: int
    description: str | None = None
    stripe_price_id: str | None = None
    sort_order: int = 0
    metadata: dict[str, Any] | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a package; None stays as it is."""

    name: str | None = None
    credits: int | None = None
    price_euro_cents: int | None = None
    description: str | None = None
    stripe_price_id: str | None = None
    active: bool | None = None
    sort_order: int | None = None
    metadata: dict[str, Any] | None = None


SEEDS: Final = (
    (
        UUID("0197c000-0000-7000-8000-000000000001"),
        NewPackage(name="Starter", credits=500, price_euro_cents=500),
    ),
    (
        UUID("0197c000-0000-7000-8000-000000000002"),
        NewPackage(name="Standard", credits=1_100, price_euro_cents=1_000, sort_order=1),
    ),
    (
        UUID("0197c000-0000-7000-8000-000000000003"),
        NewPackage(name="Plus", credits=2_900, price_euro_cents=2_500, sort_order=2),
    ),
    (
        UUID("0197c000-0000-7000-8000-000000000004"),
        NewPackage(name="Studio", credits=12_500, price_euro_cents=10_000, sort_order=3),
    ),
)
"""What a developer's machine has to sell: at the same ids everywhere, so that seeding twice adds nothing."""


def create(connection: Connection, new: NewPackage, *, now: datetime) -> Package:
    """Make a package, for sale from now on.  Raises StripePriceTaken."""
    _check_stripe_price(connection, new.stripe_price_id, None)
    return _insert(connection, new_id(now), new, now)


def _insert(connection: Connection, package_id: UUID, new: NewPackage, now: datetime) -> Package:
    values = {**msgspec.structs.asdict(new), "id": package_id, "created_at": now, "updated_at": now}
    return package_from_row(connection.execute(packages.insert().values(values).returning(*packages.c)).one())


def change(connection: Connection, package_id: UUID, changes: Changes, *, now: datetime) -> Package:
    """Change a package; the package as it is then.

    Raises PackageNotFound, StripePriceTaken, and PackageSold when the price, the credits or Stripe's price
    of a package that somebody began to buy would become others.
    """
    query = select(packages).where(packages.c.id == package_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise PackageNotFound
    current = package_from_row(row)
    values = {
        name: value
        for name, value in msgspec.structs.asdict(changes).items()
        if value is not None and value != getattr(current, name)
    }
    if not values:
        return current
    if values.keys() & {"credits", "price_euro_cents", "stripe_price_id"} and _is_sold(
        connection, package_id
    ):
        raise PackageSold
    _check_stripe_price(connection, values.get("stripe_price_id"), package_id)
    statement = update(packages).where(packages.c.id == package_id).values(**values, updated_at=now)
    return package_from_row(connection.execute(statement.returning(*packages.c)).one())


def deactivate(connection: Connection, package_id: UUID, *, now: datetime) -> Package:
    """Take a package off the shelf; begun purchases of it go on.  Raises PackageNotFound."""
    return change(connection, package_id, Changes(active=False), now=now)


def seed(connection: Connection, *, now: datetime) -> int:
    """Give a developer's database something to sell; how many packages were added."""
    added = 0
    for package_id, new in SEEDS:
        values = {**msgspec.structs.asdict(new), "id": package_id, "created_at": now, "updated_at": now}
        statement = insert(packages).values(values).on_conflict_do_nothing().returning(packages.c.id)
        added += connection.execute(statement).one_or_none() is not None
    return added


def _is_sold(connection: Connection, package_id: UUID) -> bool:
    return bool(connection.execute(select(exists().where(purchases.c.package_id == package_id))).scalar_one())


def _check_stripe_price(connection: Connection, stripe_price_id: str | None, own_id: UUID | None) -> None:
    if stripe_price_id is None:
        return
    query = select(packages.c.id).where(packages.c.stripe_price_id == stripe_price_id)
    if connection.execute(query).scalar_one_or_none() not in (None, own_id):
        raise StripePriceTaken
