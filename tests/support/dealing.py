"""Which tests a parallel process begins with.

pytest-xdist deals the tests in their order, a piece for each process; who has finished takes over from others.  Left in
the order of their names, those that wait for processes to die and come back would all be the last ones of one piece,
and the run would end with one process waiting and the others idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

Item = TypeVar("Item", bound=Any)

LONG: Final = frozenset(
    {"browser", "devkit", "faults", "journeys", "migrations", "processes", "production", "properties"}
    | {"scheduler", "telemetry", "webhooks", "workers"}
)
"""Directories with tests that take seconds."""


def deal(items: Sequence[Item], processes: int, tests: Path) -> list[Item]:
    """The tests (pytest's items) in an order by which each process begins with a share of the long modules.

    Modules stay whole, for what their tests share.
    """
    modules = [list(module) for _, module in groupby(items, key=lambda item: item.path)]
    long = [module for module in modules if module[0].path.relative_to(tests).parts[0] in LONG]
    quick = [item for module in modules if module not in long for item in module]
    hands = [[item for module in long[number::processes] for item in module] for number in range(processes)]
    dealt: list[Item] = []
    for number, hand in enumerate(hands):
        size = (len(items) - len(dealt)) // (processes - number)
        more = max(0, size - len(hand))
        dealt += [*hand, *quick[:more]]
        quick = quick[more:]
    return [*dealt, *quick]
