"""Long tests are begun first: those that wait by one process, the others by the others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from tests.support.dealing import deal

TESTS = Path("/tests")


@dataclass(frozen=True)
class One:
    path: Path
    name: int


def ones_of(module: str, count: int) -> list[One]:
    return [One(TESTS / module, number) for number in range(count)]


MODULES = {"browser/test_a.py": 3, "browser/test_b.py": 2, "domain/test_c.py": 17, "faults/test_d.py": 3}
MODULES |= {"faults/test_hosts.py": 2, "web/test_e.py": 19, "webhooks/test_deliverer.py": 3}
MODULES |= {"workers/test_f.py": 4, "workers/test_faults.py": 2}
ITEMS = [test for module, count in MODULES.items() for test in ones_of(module, count)]


def order_of(dealt: list[One]) -> list[str]:
    return [name for name, _ in groupby(test.path.relative_to(TESTS).as_posix() for test in dealt)]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_each_test_is_there_once_and_long_modules_are_whole(processes: int) -> None:
    dealt = deal(ITEMS, processes, TESTS)
    assert sorted(dealt, key=ITEMS.index) == ITEMS
    for module, count in MODULES.items():
        if module.partition("/")[0] not in {"domain", "web"}:
            at = [dealt.index(test) for test in ones_of(module, count)]
            assert at == list(range(at[0], at[0] + len(at)))


def test_the_first_process_begins_with_what_waits_and_the_others_with_what_computes() -> None:
    assert order_of(deal(ITEMS, 3, TESTS)) == [
        *("workers/test_faults.py", "faults/test_hosts.py", "domain/test_c.py"),
        *("webhooks/test_deliverer.py", "faults/test_d.py", "domain/test_c.py", "web/test_e.py"),
        *("browser/test_a.py", "browser/test_b.py", "workers/test_f.py", "web/test_e.py"),
    ]


def test_none_is_lost_in_whatever_order_they_are_asked_for() -> None:
    items = [
        *ones_of("browser/test_b.py", 3),
        *ones_of("domain/test_x.py", 2),
        *ones_of("browser/test_a.py", 4),
    ]
    items += [*ones_of("domain/test_y.py", 1), *ones_of("domain/test_x.py", 5)[2:]]
    assert sorted(deal(items, 2, TESTS), key=items.index) == items


def test_more_long_ones_than_a_share_are_all_dealt() -> None:
    items = [
        *ones_of("domain/test_a.py", 1),
        *ones_of("faults/test_c.py", 9),
        *ones_of("workers/test_e.py", 2),
    ]
    assert sorted(deal(items, 2, TESTS), key=items.index) == items
