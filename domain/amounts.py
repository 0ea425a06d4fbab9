"""Amounts of credits: what one is, and how it is written on the wire.  1 credit = 1 euro cent."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

DECIMALS_MAX: Final = 3
"""The finest amount is a thousandth of a credit (contract, sections 1 and 8)."""

AMOUNT_MAX: Final = Decimal(1_000_000_000)
"""The largest amount of one posting, in credits (ten million euros).

Far above any package or grant, and small enough that a sum of a million of them still fits the columns,
`numeric(18,3)`.
"""

BALANCE_MAX: Final = Decimal(1_000_000_000_000)
"""The largest balance, in credits: with three decimals still exact as a double in the callers' JSON."""


class NotAnAmount(ValueError):
    """The value is no amount of credits.  Its text says what is wrong, fit for a caller to read."""


def parse_amount(value: object, *, whole: bool, most: Decimal | int = AMOUNT_MAX) -> Decimal:
    """A caller's JSON number as an amount above zero, in credits.

    `value` is what a JSON decoder made of the number: `int`, or `Decimal` for one with a fraction or an
    exponent (never `float`, which has already rounded).
    Raises NotAnAmount for anything but a number, zero or less, above `most`, or too fine.
    """
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise NotAnAmount("must be a number")
    if isinstance(value, Decimal) and value.is_nan():
        raise NotAnAmount("must be a number")
    if not value > 0:
        raise NotAnAmount("must be greater than 0")
    if value > most:
        raise NotAnAmount(f"must be at most {most}")
    amount = Decimal(value)
    if whole and amount != amount.to_integral_value():
        raise NotAnAmount("must be a whole number of credits")
    if amount != round(amount, DECIMALS_MAX):
        raise NotAnAmount(f"must have at most {DECIMALS_MAX} decimals")
    return amount


_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)


def wire_amount(amount: Decimal) -> Decimal:
    """The amount as the contract writes it: without a fraction when it is whole, else without trailing zeros."""
    whole = amount.quantize(_ONE)
    if whole == amount:
        return whole or _ZERO  # which has no sign
    return amount.normalize()
