"""Objects with the fields of Stripe's published fixtures."""

import json
import secrets
import string
from pathlib import Path
from typing import Any

Object = dict[str, Any]

_FIXTURES: dict[str, Object] = json.loads(
    (Path(__file__).parent / "fixtures.json").read_text(encoding="utf-8")
)["resources"]

ADDITIONS: dict[str, frozenset[str]] = {
    "event": frozenset(),
    # Stripe adds these two to a refund that failed, and only to it.
    "refund": frozenset({"failure_reason", "failure_balance_transaction"}),
    # A payment method carries one member named after its type.
    "payment_method": frozenset({"sepa_debit"}),
}
"""Fields real objects may have although the fixture's example lacks them."""

_ALPHABET = string.ascii_letters + string.digits


def shape(resource: str, *path: str, **values: Any) -> Object:
    """Return an object with every field of the fixture, null where `values` says nothing.

    `path` leads to a nested object of the fixture.  Raises KeyError for a value the fixture has no
    field for, so that no object grows a field Stripe does not have.
    """
    fixture = _FIXTURES[resource]
    for part in path:
        fixture = fixture[part]
    unknown = values.keys() - fixture.keys() - ADDITIONS.get(resource, frozenset())
    if unknown:
        raise KeyError(f"Stripe's {resource} has no {', '.join(sorted(unknown))}")
    return {**dict.fromkeys(fixture), **values}


def new_id(prefix: str, length: int = 24) -> str:
    """Return an id that looks like Stripe's: `pi_3Q…`."""
    return f"{prefix}_{random_text(length)}"


def random_text(length: int) -> str:
    """Return random letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def list_of(data: list[Object], url: str, *, has_more: bool = False) -> Object:
    """Return Stripe's list object."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}
