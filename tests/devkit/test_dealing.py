"""Long tests are begun first, by all processes."""

from __future__ import annotations

from dataclasses import dataclass
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


MODULES = {"domain/test_a.py": 7, "domain/test_b.py": 5, "faults/test_c.py": 3, "web/test_d.py": 9}
MODULES |= {"workers/test_e.py": 4, "workers/test_f.py": 2}
ITEMS = [test for module, count in MODULES.items() for test in ones_of(module, count)]


@pytest.mark.parametrize("processes", [2, 3, 4, 7])
def test_each_test_is_there_once_and_long_modules_are_whole(processes: int) -> None:
    dealt = deal(ITEMS, processes, TESTS)
    assert sorted(dealt, key=ITEMS.index) == ITEMS
    for module in ("faults/test_c.py", "workers/test_e.py", "workers/test_f.py"):
        at = [dealt.index(test) for test in ones_of(module, MODULES[module])]
        assert at == list(range(at[0], at[0] + len(at)))


def test_each_process_begins_with_long_ones() -> None:
    dealt = deal(ITEMS, 2, TESTS)
    assert {test.path.parent.name for test in dealt[:5]} == {"faults", "workers"}
    assert dealt[len(ITEMS) // 2].path.parent.name == "workers"
    assert dealt[-1].path.parent.name == "web"


def test_more_long_ones_than_a_share_are_all_dealt() -> None:
    items = [
        *ones_of("domain/test_a.py", 1),
        *ones_of("faults/test_c.py", 9),
        *ones_of("workers/test_e.py", 2),
    ]
    assert sorted(deal(items, 2, TESTS), key=items.index) == items
