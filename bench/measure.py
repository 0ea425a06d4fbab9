"""Figures: two things measured in turns in one run, and the ratios of the turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from bench.rig import Rig


class Series(msgspec.Struct, kw_only=True):
    """One thing measured: its name, its unit, and what each turn gave."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        """The middle of the turns."""
        return statistics.median(self.values)


class Figure(msgspec.Struct, kw_only=True):
    """A figure: `series[0]` against `series[1]`, the ratio of each turn, and the goals for it.

    `higher_is_better` says which way the goals look; `checks` what was found right after the run.
    """

    name: str
    says: str
    series: list[Series]
    ratios: list[float]
    must: float | None
    aim: float | None
    higher_is_better: bool
    checks: list[str]
    measured_at: str

    @property
    def value(self) -> float:
        """The middle ratio, or the middle value where there is nothing to compare with."""
        return statistics.median(self.ratios) if self.ratios else self.series[0].median

    def reaches(self, goal: float | None) -> bool:
        """Whether a goal is reached."""
        return goal is None or (self.value >= goal if self.higher_is_better else self.value <= goal)


Turn = Callable[[], float]


def in_turns(
    name: str,
    says: str,
    *,
    ours: tuple[str, str, Turn],
    other: tuple[str, str, Turn] | None,
    turns: int,
    must: float | None,
    aim: float | None,
    higher_is_better: bool = True,
    checks: Callable[[], list[str]] = list,
) -> Figure:
    """Measure A B A B …; each turn's ratio is ours to the other's."""
    mine = Series(name=ours[0], unit=ours[1], values=[])
    theirs = None if other is None else Series(name=other[0], unit=other[1], values=[])
    for _ in range(turns):
        mine.values.append(ours[2]())
        if other is not None and theirs is not None:
            theirs.values.append(other[2]())
    ratios = [] if theirs is None else [a / b for a, b in zip(mine.values, theirs.values, strict=True)]
    return Figure(
        name=name,
        says=says,
        series=[mine] if theirs is None else [mine, theirs],
        ratios=ratios,
        must=must,
        aim=aim,
        higher_is_better=higher_is_better,
        checks=checks(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def entries_of_run(rig: Rig) -> int:
    """How many usage entries there are."""
    [(count,)] = rig.sql("SELECT count(*) FROM credits.transactions WHERE type = 'usage'")
    assert isinstance(count, int)
    return count
