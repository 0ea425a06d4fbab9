"""What the rig would find: its comparison of what was told with what is there."""

from __future__ import annotations

import pytest

from tests.faults.rig.records import Record, Records, Told
from tests.faults.rig.verdict import Evidence, named
from tests.support.books import Books


def asked(told: Told) -> dict[str, tuple[Told, Record]]:
    return {"a": (told, Record("a", "use", "anna", 0.0, {}))}


@pytest.mark.parametrize(
    ("told", "there", "says"),
    [
        (Told.OK, [], "was told ok"),
        (Told.REFUSED, ["a"], "was refused"),
        (Told.OK, ["a", "a"], "2 times"),
        (Told.UNKNOWN, ["a", "a"], "2 times"),
        (Told.OK, ["a", "b"], "nobody asked"),
    ],
)
def test_what_was_told_and_is_otherwise_is_found(told: Told, there: list[str], says: str) -> None:
    [found] = named("use", asked(told), [(name, None) for name in there], set())
    assert says in found


@pytest.mark.parametrize(
    ("told", "there"),
    [(Told.OK, ["a"]), (Told.REFUSED, []), (Told.UNKNOWN, []), (Told.UNKNOWN, ["a"])],
)
def test_what_was_told_and_is_so_is_not(told: Told, there: list[str]) -> None:
    assert named("use", asked(told), [(name, None) for name in there], set()) == []


def test_who_was_erased_is_found_once_however_many_ask() -> None:
    """Every use asks: to look through all records each time took longer than the load."""
    erased = Record("a", "erase", "anna", 0.0, {}, told=Told.OK)
    evidence = Evidence(Records([erased]), Books("postgresql://"), {}, {}, [])
    assert evidence.gone == {"anna"}
    assert evidence.gone is evidence.gone


def test_of_who_was_erased_nothing_need_be_there() -> None:
    assert named("use", asked(Told.OK), [], {"anna"}) == []
