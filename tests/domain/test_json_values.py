"""When two JSON values are the same, whoever read or wrote them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from domain.json_values import canonical

SAME: list[list[Any]] = [
    [5, Decimal("5.0"), Decimal("5E0"), 5.0, Decimal("0.5E1")],
    [0, Decimal("-0"), -0.0, Decimal("0.000"), Decimal("0E9")],
    [Decimal("0.1"), 0.1, Decimal("0.100")],
    [Decimal("1E300"), 10**300],
    [{"a": 1, "b": [2]}, {"b": [Decimal("2.0")], "a": 1}],
    [True],
    [1],
    ["1"],
    [Decimal("0.12345678901234567890123456789012345")],
    [Decimal("0.12345678901234567890123456789012346")],
    [None],
    ["null"],
    [[]],
    [{}],
    [[1]],
    [[[1]]],
    [[True]],
    [{"a": None}],
]
"""Each list holds one value; no two lists the same one."""


def test_values_are_the_same_when_they_are_one_value_and_only_then() -> None:
    spellings = [{canonical(value) for value in one} for one in SAME]
    assert [len(spelling) for spelling in spellings] == [1] * len(SAME)
    assert len(set.union(*spellings)) == len(SAME)


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.text() | some.decimals(-1000, 1000),
        lambda part: some.lists(part) | some.dictionaries(some.text(), part),
        max_leaves=10,
    )
)
def test_the_spelling_is_json_and_that_of_what_it_spells(value: Any) -> None:
    spelled = canonical(value)
    assert canonical(json.loads(spelled, parse_float=Decimal)) == spelled


@pytest.mark.parametrize("value", [datetime(2026, 1, 1, tzinfo=UTC), b"x", {1, 2}, object()])
def test_what_is_no_json_has_no_spelling(value: object) -> None:
    with pytest.raises(TypeError):
        canonical({"a": [value]})
