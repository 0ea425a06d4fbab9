"""What is for sale, as operators change it: each change with its record in the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from domain import packages
from domain.operators import audit
from domain.operators.audit import Action, Operator
from domain.packages import Changes, NewPackage, Package


def create_package(
    connection: Connection, new: NewPackage, *, by: Operator, reason: str, now: datetime
) -> Package:
    """Make a package, for sale at once.  Raises StripePriceTaken, NotPermitted, ReasonMissing."""
    reason = audit.check_may_act(by, reason)
    made = packages.create(connection, new, now=now)
    _record(connection, Action.CREATE_PACKAGE, made, _given(new), by=by, reason=reason, now=now)
    return made


def change_package(
    connection: Connection, package_id: UUID, changes: Changes, *, by: Operator, reason: str, now: datetime
) -> Package:
    """Change a package.  Raises PackageNotFound, StripePriceTaken, PackageSold, NotPermitted, ReasonMissing."""
    reason = audit.check_may_act(by, reason)
    changed = packages.change(connection, package_id, changes, now=now)
    _record(connection, Action.CHANGE_PACKAGE, changed, _given(changes), by=by, reason=reason, now=now)
    return changed


def deactivate_package(
    connection: Connection, package_id: UUID, *, by: Operator, reason: str, now: datetime
) -> Package:
    """Take a package off the shelf.  Raises PackageNotFound, NotPermitted, ReasonMissing."""
    reason = audit.check_may_act(by, reason)
    changed = packages.deactivate(connection, package_id, now=now)
    _record(connection, Action.DEACTIVATE_PACKAGE, changed, {}, by=by, reason=reason, now=now)
    return changed


def _given(wanted: NewPackage | Changes) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}


def _record(
    connection: Connection,
    action: Action,
    package: Package,
    details: dict[str, Any],
    *,
    by: Operator,
    reason: str,
    now: datetime,
) -> None:
    price = f"{package.price_euro_cents / 100:.2f} EUR"
    is_sold = "for sale" if package.active else "not for sale"
    audit.record(
        connection,
        by=by,
        action=action,
        reason=reason,
        outcome=f"{package.name}: {package.credits} credits for {price}, {is_sold}",
        subject=str(package.id),
        details=details,
        now=now,
    )
