"""What an amount is, and how it is written."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from domain.amounts import AMOUNT_MAX, BALANCE_MAX, NotAnAmount, parse_amount, wire_amount


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (1, "1"),
        (Decimal("0.1"), "0.1"),
        (Decimal("0.001"), "0.001"),
        (Decimal("0.100"), "0.1"),
        (Decimal("0.1000000000000000000000000000000000000"), "0.1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-3"), "0.001"),
        (Decimal("5.0"), "5"),
        (1_000_000_000, "1000000000"),
        (Decimal("999999999.999"), "999999999.999"),
    ],
)
def test_an_amount_is_a_number_above_zero_with_three_decimals(value: object, amount: str) -> None:
    assert parse_amount(value, whole=False) == Decimal(amount)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (Decimal("NaN"), "must be a number"),
        (Decimal("sNaN"), "must be a number"),
        (True, "must be a number"),
        (False, "must be a number"),
        ("5", "must be a number"),
        (None, "must be a number"),
        (0.5, "must be a number"),
        (float("nan"), "must be a number"),
        ([5], "must be a number"),
        (Decimal("Infinity"), "must be at most"),
        (Decimal("-Infinity"), "must be greater than 0"),
        (Decimal("1E+400"), "must be at most"),
        (Decimal("1E+999999"), "must be at most"),
        (10**400, "must be at most"),
        (0, "must be greater than 0"),
        (Decimal("0.000"), "must be greater than 0"),
        (Decimal("-0.0"), "must be greater than 0"),
        (-1, "must be greater than 0"),
        (Decimal("0.0001"), "must have at most 3 decimals"),
        (Decimal("0.0005"), "must have at most 3 decimals"),
        (Decimal("1E-999999"), "must have at most 3 decimals"),
        (Decimal("1.00000000000000000000000000000000001"), "must have at most 3 decimals"),
        (1_000_000_001, "must be at most"),
        (Decimal("1000000000.001"), "must be at most"),
        (Decimal("1000000000.0000000000000000000000001"), "must be at most"),
    ],
)
def test_anything_else_is_no_amount(value: object, problem: str) -> None:
    with pytest.raises(NotAnAmount, match=problem):
        parse_amount(value, whole=False)


@pytest.mark.parametrize("value", [1, Decimal("5.000"), Decimal("1E+3"), 1_000_000_000])
def test_a_whole_amount_may_be_written_in_any_way(value: object) -> None:
    assert parse_amount(value, whole=True) == value


@pytest.mark.parametrize(
    "value", [Decimal("0.1"), Decimal("1.001"), Decimal("1.0000000000000000000000000001")]
)
def test_a_fraction_is_no_whole_amount(value: object) -> None:
    with pytest.raises(NotAnAmount, match="must be a whole number of credits"):
        parse_amount(value, whole=True)


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("5.000", "5"),
        ("5", "5"),
        ("0.100", "0.1"),
        ("0.001", "0.001"),
        ("-0.500", "-0.5"),
        ("0.000", "0"),
        ("-0.000", "0"),
        ("1E+3", "1000"),
        ("1.50E+3", "1500"),
        ("1E-3", "0.001"),
        ("100.000", "100"),
        ("-100", "-100"),
        ("1000000000000.000", "1000000000000"),
        ("999999999999.999", "999999999999.999"),
        ("-999999999999.990", "-999999999999.99"),
    ],
)
def test_an_amount_is_written_as_an_integer_when_whole_and_without_trailing_zeros(
    amount: str, written: str
) -> None:
    encoder = msgspec.json.Encoder(decimal_format="number")
    assert encoder.encode(wire_amount(Decimal(amount))).decode() == written


@given(st.decimals(-BALANCE_MAX, BALANCE_MAX, places=3))
def test_what_is_written_is_what_was_meant(amount: Decimal) -> None:
    written = str(wire_amount(amount))
    assert Decimal(written) == amount
    assert set(written) <= set("-.0123456789")
    assert not written.endswith(".0")


@given(st.decimals(Decimal("0.001"), AMOUNT_MAX, places=3))
def test_every_amount_with_three_decimals_is_taken(amount: Decimal) -> None:
    assert parse_amount(amount, whole=False) == amount
