"""Which tests a parallel process begins with.

pytest-xdist deals the tests in their order, a piece for each process; who has finished takes over from others.  Left in
the order of their names, those that wait for processes to die and come back would all be the last ones of one piece,
and the run would end with one process waiting and the others idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

Item = TypeVar("Item", bound=Any)

LONG: Final = frozenset(
    {
        "bench",
        "clients",
        "devkit",
        "faults",
        "journeys",
        "migrations",
        "processes",
        "production",
        "properties",
    }
    | {"scheduler", "telemetry", "webhooks", "workers"}
)
"""Directories with modules that take seconds."""

TOGETHER: Final = frozenset({"browser"})
"""Directories whose tests share what takes seconds to start."""

WAITING: Final = (
    *("workers/test_faults.py", "workers/test_processes.py"),
    *("faults/test_renewals_by_processes.py", "faults/test_hosts.py"),
)
"""Modules that take long and hardly compute: they wait for what was killed to come back, or for a time to pass."""

BEGUN_FIRST: Final = frozenset({"webhooks/test_deliverer.py"})
"""Of the other long ones, those that take a minute and more."""


def deal(items: Sequence[Item], processes: int, tests: Path) -> list[Item]:
    """The tests (pytest's items) in an order by which each process begins with a share of the long modules.

    The first has those that wait, one after another, beside which the others compute: waiting at the same time, or
    at the end, they would leave the machine idle.  Modules stay whole, for what their tests share.
    """

    def name_of(item: Item) -> str:
        path = item.path.relative_to(tests)
        directory = str(path.parts[0])
        return directory if directory in TOGETHER else str(path.as_posix())

    pieces: dict[str, list[Item]] = {}
    for item in items:
        pieces.setdefault(name_of(item), []).append(item)
    waiting = [pieces.pop(name) for name in WAITING if name in pieces]
    names = [name for name in pieces if name.partition("/")[0] in LONG | TOGETHER]
    long = [pieces.pop(name) for name in sorted(names, key=lambda name: name not in BEGUN_FIRST)]
    quick = [item for piece in pieces.values() for item in piece]
    hands = [waiting, *([] for _ in range(processes - 1))]
    computing = hands[1:] or hands
    for number, piece in enumerate(long):
        computing[number % len(computing)].append(piece)
    dealt: list[Item] = []
    for number, hand in enumerate(hands):
        begins_with = [item for piece in hand for item in piece]
        size = (len(items) - len(dealt)) // (processes - number)
        more = max(0, size - len(begins_with))
        dealt += [*begins_with, *quick[:more]]
        quick = quick[more:]
    return [*dealt, *quick]
