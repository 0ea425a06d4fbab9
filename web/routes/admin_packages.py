"""Admins manage what is for sale, and are audited."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from domain import packages
from domain.errors import (
    AnswerForgotten,
    IdempotencyKeyReused,
    PackageNotFound,
    PackageSold,
    StripePriceTaken,
)
from domain.idempotency import Answer
from domain.operators import shelving
from domain.packages import (
    CREDITS_MAX,
    PRICE_EURO_CENTS_MAX,
    PRICE_EURO_CENTS_MIN,
    SORT_ORDER_MAX,
    Changes,
    NewPackage,
)
from web.answers import PackageAnswer
from web.bodies import IdempotencyKey, MetadataObject, path_uuid
from web.once import once
from web.operators.actions import WHY, operator_of, stated_reason
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/admin/packages", Access.ADMIN, "Admin")

Name = Annotated[str, Meta(min_length=1, max_length=200, examples=["Starter"])]
CreditsSold = Annotated[int, Meta(ge=1, le=CREDITS_MAX, examples=[500])]
PriceEuroCents = Annotated[int, Meta(ge=PRICE_EURO_CENTS_MIN, le=PRICE_EURO_CENTS_MAX, examples=[500])]
Description = Annotated[str, Meta(max_length=2000)]
StripePriceId = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[A-Za-z0-9_]+$")]
SortOrder = Annotated[int, Meta(ge=-SORT_ORDER_MAX, le=SORT_ORDER_MAX)]


class NewPackageBody(msgspec.Struct, kw_only=True, rename="camel"):
    """A package to sell from now on."""

    name: Name
    credits: CreditsSold
    price_euro_cents: PriceEuroCents
    description: Description | None = None
    stripe_price_id: StripePriceId | None = None
    sort_order: SortOrder | None = None
    metadata: MetadataObject | None = None
    idempotency_key: IdempotencyKey | None = None


class ChangePackageBody(msgspec.Struct, kw_only=True, rename="camel"):
    """What is to be changed; what is absent stays."""

    name: Name | None = None
    credits: CreditsSold | None = None
    price_euro_cents: PriceEuroCents | None = None
    description: Description | None = None
    stripe_price_id: StripePriceId | None = None
    active: bool | None = None
    sort_order: SortOrder | None = None
    metadata: MetadataObject | None = None


@routes.add("GET", "", answer=list[PackageAnswer])
async def every_package(call: Call) -> list[PackageAnswer]:
    """What is and was for sale."""
    found = await call.services.bridge.run(lambda connection, _now: packages.all_packages(connection))
    return [PackageAnswer.of(package) for package in found]


@routes.add(
    "POST",
    "",
    body=NewPackageBody,
    answer=PackageAnswer,
    status=201,
    refusals=(StripePriceTaken, AnswerForgotten, IdempotencyKeyReused),
    queries=WHY,
)
async def create(call: Call) -> Answer:
    """Make a package, for sale at once."""
    body: NewPackageBody = call.body
    new = NewPackage(
        name=body.name,
        credits=body.credits,
        price_euro_cents=body.price_euro_cents,
        description=body.description,
        stripe_price_id=body.stripe_price_id,
        sort_order=body.sort_order or 0,
        metadata=_plain(body.metadata),
    )

    by, reason = operator_of(call), stated_reason(call)

    def work(connection: Connection, now: datetime) -> PackageAnswer:
        return PackageAnswer.of(shelving.create_package(connection, new, by=by, reason=reason, now=now))

    return await once(
        call, "create-package", body.idempotency_key, lambda _connection: call.caller.user_id, work
    )


async def change(call: Call) -> PackageAnswer:
    """Change a package; the price and the credits of one that was sold stay."""
    body: ChangePackageBody = call.body
    package_id = path_uuid(call.request, "id")
    given = {name: getattr(body, name) for name in Changes.__struct_fields__ if name != "metadata"}
    changes = Changes(**given, metadata=_plain(body.metadata))
    by, reason = operator_of(call), stated_reason(call)
    changed = await call.services.bridge.run(
        lambda connection, now: shelving.change_package(
            connection, package_id, changes, by=by, reason=reason, now=now
        )
    )
    return PackageAnswer.of(changed)


async def deactivate(call: Call) -> PackageAnswer:
    """Take a package off the shelf; purchases that were begun go on."""
    package_id = path_uuid(call.request, "id")
    by, reason = operator_of(call), stated_reason(call)
    changed = await call.services.bridge.run(
        lambda connection, now: shelving.deactivate_package(
            connection, package_id, by=by, reason=reason, now=now
        )
    )
    return PackageAnswer.of(changed)


for _method in ("PATCH", "PUT"):
    routes.add(
        _method,
        "/{id}",
        body=ChangePackageBody,
        answer=PackageAnswer,
        refusals=(PackageNotFound, PackageSold, StripePriceTaken),
        queries=WHY,
    )(change)
for _method, _path in (("DELETE", "/{id}"), ("POST", "/{id}/deactivate")):
    routes.add(_method, _path, answer=PackageAnswer, refusals=(PackageNotFound,), queries=WHY)(deactivate)


def _plain(metadata: MetadataObject | None) -> dict[str, Any] | None:
    return None if metadata is None else dict(metadata)
