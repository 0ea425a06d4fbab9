"""Figures: two things measured in turns in one run, and the ratios of the turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from bench import machine
from bench.rig import Rig


@dataclass(frozen=True)
class Pace:
    """How long and how often to measure; `is_quick` takes smaller worlds too.

    `memory_minutes` is how long the figure of that name goes on.
    """

    seconds: float
    turns: int
    is_quick: bool
    memory_minutes: float

    def of(self, full: int, quick: int) -> int:
        """A size of the world."""
        return quick if self.is_quick else full

    def of_sizes(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Sizes that a quick look leaves out."""
        return () if self.is_quick else full


class Series(msgspec.Struct, kw_only=True):
    """One thing measured: its name, its unit, and what each turn gave.

    `cpu_seconds` says what each process used meanwhile, `seconds` how long that was, all turns together.
    """

    name: str
    unit: str
    values: list[float]
    seconds: float = 0.0
    cpu_seconds: dict[str, float] = {}

    @property
    def median(self) -> float:
        """The middle of the turns."""
        return statistics.median(self.values)


class Point(msgspec.Struct, kw_only=True):
    """What the turns gave at one x."""

    x: float
    values: list[float]

    @property
    def median(self) -> float:
        """The middle of the turns."""
        return statistics.median(self.values)


class Curve(msgspec.Struct, kw_only=True):
    """How something grows: `unit` over `x_name`."""

    name: str
    unit: str
    x_name: str
    points: list[Point]
    x_is_log: bool = True


class Figure(msgspec.Struct, kw_only=True):
    """A figure: `series[0]` against `series[1]`, the ratio of each turn, and the goals for it.

    `higher_is_better` says which way the goals look; `checks` what was found right after the run, with WRONG
    in it where that must not be.  `generators` names what sent the load.
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
    generators: list[str] = []
    machine: dict[str, str] = {}
    curves: list[Curve] = []

    @property
    def values(self) -> list[float]:
        """The ratios of the turns, or what they gave where there is nothing to compare with."""
        return self.ratios or self.series[0].values

    @property
    def unit(self) -> str:
        """The unit of `values`."""
        return "×" if self.ratios else self.series[0].unit

    @property
    def value(self) -> float:
        """The middle one of `values`."""
        return statistics.median(self.values)

    @property
    def is_wrong(self) -> bool:
        """Whether a check found what must not be."""
        return any("WRONG" in check for check in self.checks)

    def reaches(self, goal: float | None) -> bool:
        """Whether a goal is reached."""
        return goal is None or (self.value >= goal if self.higher_is_better else self.value <= goal)


Turn = Callable[[], float]
Side = tuple[str, str, Turn]
"""Name, unit, and what measures it once."""


def figure(
    rig: Rig,
    name: str,
    says: str,
    series: Sequence[Series],
    *,
    must: float | None,
    aim: float | None,
    higher_is_better: bool = True,
    checks: Sequence[str] = (),
    curves: Sequence[Curve] = (),
) -> Figure:
    """The figure of what was measured: one series by itself, or the first against the second."""
    ratios = [a / b for a, b in zip(series[0].values, series[1].values, strict=True)] if series[1:] else []
    return Figure(
        name=name,
        says=says,
        series=list(series),
        ratios=ratios,
        must=must,
        aim=aim,
        higher_is_better=higher_is_better,
        checks=list(checks),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        generators=sorted(rig.accounts.generators),
        machine=machine.facts(),
        curves=list(curves),
    )


def take(rig: Rig, series: Series, turn: Turn) -> None:
    """Measure once more, and add what it gave and what it cost."""
    before, began = rig.cpu_seconds(), time.perf_counter()
    series.values.append(turn())
    series.seconds += time.perf_counter() - began
    used = {name: seconds - before.get(name, 0.0) for name, seconds in rig.cpu_seconds().items()}
    series.cpu_seconds = {
        name: round(series.cpu_seconds.get(name, 0.0) + seconds, 2) for name, seconds in used.items()
    }


def in_turns(
    rig: Rig,
    name: str,
    says: str,
    *,
    ours: Side,
    other: Side | None,
    turns: int,
    must: float | None,
    aim: float | None,
    higher_is_better: bool = True,
    checks: Callable[[], list[str]] = list,
) -> Figure:
    """Measure A B A B …; each turn's ratio is ours to the other's."""
    sides = [ours] if other is None else [ours, other]
    series = [Series(name=side[0], unit=side[1], values=[]) for side in sides]
    rig.accounts.generators.clear()
    for _ in range(turns):
        for each, side in zip(series, sides, strict=True):
            take(rig, each, side[2])
    return figure(
        rig, name, says, series, must=must, aim=aim, higher_is_better=higher_is_better, checks=checks()
    )
