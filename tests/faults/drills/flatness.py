"""Is it flat?  What a soak is judged by."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults.drills.sampling import MEMBERS, TABLES, Sample

FIFTHS = 5
"""The samples are compared by fifths of the time: the first is warming up (pools, plans, remembered tokens fill),
the second is what the last must not exceed."""

MEMORY_GROWS_SHARE_MAX = 0.1
MEMORY_GROWS_MB_MAX = 8.0
"""A process's memory may be a tenth more at the end, or so much: allocators and caches settle slowly.  A leak of
a hundred bytes a request is more within a hundred thousand requests."""

CONNECTIONS_GROW_MAX = 1
QUEUE_GROWS_MAX = 20
"""A queue's length is what a few seconds of work are, by chance: more of it where more is asked for in a second.

What is done every two seconds swings between nothing and two seconds' worth, and so does the median of a few dozen
samples, by a tenth: it is held against what a quarter of the early samples had or more.
"""

ROWS_WORTH_MIN = 300
GROWTH_RATIO = (0.67, 1.5)
"""Rows for each operation that writes such, and was not refused, in the later half of the time against the earlier."""

SIZE_RATIO_MAX = 1.5
SIZE_GROWS_MIB_MAX = 2.0
"""Bytes of a row at the end, against those at the beginning: more would be dead rows that nobody clears away."""


@dataclass(frozen=True)
class Line:
    """One line of the table: what was looked at, how it was early, how late, and what is wrong with that."""

    kind: str
    name: str
    early: float
    late: float
    unit: str
    problem: str = ""


def lines(samples: Sequence[Sample]) -> list[Line]:
    """Everything that is judged, in the table's order."""
    found = [_memory(samples, name) for name in MEMBERS]
    applications = sorted({name for sample in samples for name in sample.connections})
    found += [_connections(samples, name) for name in applications]
    found += [_queue(samples, name) for name in samples[-1].waiting]
    for table in TABLES:
        found += [_growth(samples, table), _size(samples, table)]
    return found


def fifth(samples: Sequence[Sample], number: int, of: Callable[[Sample], float]) -> float:
    """The median of what the samples of a fifth (1 to FIFTHS) have."""
    return statistics.median(of(sample) for sample in _of_fifth(samples, number))


def _of_fifth(samples: Sequence[Sample], number: int) -> Sequence[Sample]:
    return samples[len(samples) * (number - 1) // FIFTHS : len(samples) * number // FIFTHS]


def _early_and_late(samples: Sequence[Sample], of: Callable[[Sample], float]) -> tuple[float, float]:
    return fifth(samples, 2, of), fifth(samples, FIFTHS, of)


def _memory(samples: Sequence[Sample], name: str) -> Line:
    early, late = _early_and_late(samples, lambda sample: sample.memory[name])
    allowed = max(early * MEMORY_GROWS_SHARE_MAX, MEMORY_GROWS_MB_MAX)
    problem = f"grew by {late - early:.1f} MB" if late > early + allowed else ""
    return Line("memory", name, early, late, "MB", problem)


def _connections(samples: Sequence[Sample], name: str) -> Line:
    early, late = _early_and_late(samples, lambda sample: sample.connections.get(name, 0))
    problem = f"grew by {late - early:.0f}" if late > early + CONNECTIONS_GROW_MAX else ""
    return Line("connections", name, early, late, "", problem)


def _queue(samples: Sequence[Sample], name: str) -> Line:
    early, late = _early_and_late(samples, lambda sample: sample.waiting[name])
    in_order = sorted(sample.waiting[name] for sample in _of_fifth(samples, 2))
    often = in_order[len(in_order) * 3 // 4]
    pace = max(1.0, _operations_in(samples, FIFTHS) / max(1, _operations_in(samples, 2)))
    problem = f"grew by {late - early:.0f}" if late > often * pace + QUEUE_GROWS_MAX else ""
    return Line("waiting", name, early, late, "", problem)


def _operations_in(samples: Sequence[Sample], number: int) -> int:
    of_fifth = _of_fifth(samples, number)
    return of_fifth[-1].operations - of_fifth[0].operations


def _growth(samples: Sequence[Sample], table: str) -> Line:
    first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
    early, late = (_rows_per_thousand(a, b, table) for a, b in ((first, middle), (middle, last)))
    is_worth_it = last.rows[table] - first.rows[table] >= ROWS_WORTH_MIN
    low, high = GROWTH_RATIO
    is_wrong = is_worth_it and not low * early <= late <= high * early
    problem = "not in step with what was done" if is_wrong else ""
    return Line("rows", table, early, late, "per 1,000 done", problem)


def _rows_per_thousand(a: Sample, b: Sample, table: str) -> float:
    return 1000 * (b.rows[table] - a.rows[table]) / max(1, b.done[table] - a.done[table])


def _size(samples: Sequence[Sample], table: str) -> Line:
    def bytes_a_row(sample: Sample) -> float:
        return sample.mebibytes[table] * 2**20 / max(1, sample.rows[table])

    early, late = _early_and_late(samples, bytes_a_row)
    growth = fifth(samples, FIFTHS, lambda one: one.mebibytes[table]) - fifth(
        samples, 2, lambda one: one.mebibytes[table]
    )
    is_wrong = late > SIZE_RATIO_MAX * early and growth > SIZE_GROWS_MIB_MAX
    return Line("size", table, early, late, "bytes a row", "dead rows stay" if is_wrong else "")
