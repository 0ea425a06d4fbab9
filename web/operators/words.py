"""How pages write amounts, times and ids.  What returns Markup has escaped what it was given."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from domain.amounts import wire_amount

NOTHING: Final = "—"

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def amount(value: Decimal | int | None) -> str:
    """Credits, with thousands apart: `1,234.5`."""
    return NOTHING if value is None else f"{wire_amount(Decimal(value)):,f}"


def signed(value: Decimal) -> Markup:
    """The change of a balance, with its sign."""
    sign, look = ("+", "plus") if value >= 0 else ("−", "minus")
    return Markup('<span class="{}">{}{}</span>').format(look, sign, amount(abs(value)))


def count(value: float) -> str:
    """A number of things."""
    return f"{value:,.0f}"


def euro(cents: int) -> str:
    """An amount of money."""
    return f"€{cents / 100:,.2f}"


def utc(value: datetime) -> str:
    """A time in full."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def at(value: datetime | None) -> Markup | str:
    """A point in time, UTC."""
    if value is None:
        return NOTHING
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), utc(value))


def ago(value: datetime | None) -> Markup | str:
    """A point in time, which the script tells in words (`3 min ago`); without it, in full."""
    if value is None:
        return NOTHING
    return Markup('<time class="ago" datetime="{}" title="{} UTC">{}</time>').format(
        value.isoformat(), utc(value), utc(value)
    )


def duration(seconds: float | None) -> str:
    """How long something takes."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86400 else f"{seconds / 86400:.0f} d"


def short(value: object) -> Markup:
    """The end of a long id, which tells it from its neighbours; the whole of it to hover over."""
    text = str(value)
    if len(text) <= 14:
        return Markup("<code>{}</code>").format(text)
    return Markup('<code title="{}">…{}</code>').format(text, text[-8:])


def pretty(value: Any) -> str:
    """JSON to read."""
    return json.dumps(json.loads(_encoder.encode(value)), indent=2, ensure_ascii=False)


def named(name: str) -> str:
    """A name of ours in words: `check_ledger` and `lastError` as `check ledger` and `last error`."""
    apart = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return apart.replace("_", " ").strip()


def fact(value: Any) -> Markup | str:
    """A fact of a preview or of the audit."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return at(value)
        case Decimal() | int():
            return amount(value)
        case dict() | list():
            return pretty(value)
        case _:
            return str(value)


def in_query(value: object) -> str:
    """Percent-encoded, for a value in an address's query."""
    return quote(str(value), safe="")


FILTERS: Final = {
    "amount": amount,
    "signed": signed,
    "count_of": count,
    "euro": euro,
    "at": at,
    "ago": ago,
    "duration": duration,
    "short": short,
    "pretty": pretty,
    "named": named,
    "fact": fact,
    "in_query": in_query,
}
