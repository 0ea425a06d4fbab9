"""Credits as Python's Decimal and as JSON's number."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

Amount = Decimal | int

_STEP: Final = Decimal("0.001")
_MOST: Final = Decimal(1_000_000_000)


def to_wire(amount: Amount) -> int | float:
    """The JSON number of an amount in credits.

    Raises TypeError for what is no Decimal or int (a float says 0.1 and means another number), ValueError for one
    that is not finite, finer than three decimals, or above a billion: JSON's numbers would not hold all of them.
    """
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise TypeError(f"an amount is a Decimal or an int, not {type(amount).__name__}")
    exact = Decimal(amount)
    if not exact.is_finite() or abs(exact) > _MOST:
        raise ValueError("an amount is at most a billion credits")
    if exact != exact.quantize(_STEP):
        raise ValueError("an amount has at most three decimals")
    # Up to fifteen digits, the float's own text is the amount's.
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def from_wire(number: object) -> Decimal:
    """An amount that the service sent; its JSON was read with `parse_float=Decimal`.

    Raises TypeError when it is no number.
    """
    if isinstance(number, bool) or not isinstance(number, Decimal | int):
        raise TypeError("the service sent no number where an amount belongs")
    return Decimal(number)
