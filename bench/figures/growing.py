"""How cost grows: with the books, with people, with connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.figures.counted import Counted
from bench.fill import fill
from bench.measure import Curve, Figure, Pace, Point, Series, figure, in_turns, take
from bench.plan import Report
from bench.rig import USERS, Rig

CONNECTIONS = (1, 4, 16, 32, 64, 128, 320)
USUAL_CONNECTIONS = 32


def grown(rig: Rig, pace: Pace) -> list[Figure]:
    """Deductions in large books against empty ones, on one server."""
    users, uses = pace.of(1_000_000, 10_000), 4
    entries = users * (1 + uses)
    large, empty = rig.new_database("grown"), rig.new_database("young")
    fill(empty, users=USERS, uses=0)
    fill(large, users=users, uses=uses)
    with large.front() as large_front, empty.front() as empty_front:
        in_large, in_empty = Counted(large, large_front, pace), Counted(empty, empty_front, pace)

        def warm(counted: Counted, *, user_step: int = 1, active: int = USERS) -> float:
            rig.settle()
            counted.per_second(users=active, user_step=user_step)
            return counted.per_second(users=active, user_step=user_step)

        def checks() -> list[str]:
            return [f"large: {check}" for check in in_large.checks()] + [
                f"empty: {check}" for check in in_empty.checks()
            ]

        other = ("empty books", "deductions/s", lambda: warm(in_empty))
        says = f"{users:,} people and {entries:,} entries, against an empty database"
        return [
            in_turns(
                rig,
                "grown",
                f"deductions of 1,000 people among {says}",
                ours=("large books", "deductions/s", lambda: warm(in_large, user_step=users // USERS)),
                other=other,
                turns=pace.turns,
                must=0.9,
                aim=0.97,
                checks=checks,
            ),
            in_turns(
                rig,
                "grown_everybody",
                f"deductions of everybody, among {says} with 1,000",
                ours=("large books", "deductions/s", lambda: warm(in_large, active=users)),
                other=other,
                turns=pace.turns,
                must=None,
                aim=None,
                checks=checks,
            ),
        ]


def growth_connections(rig: Rig, pace: Pace) -> list[Figure]:
    """Deductions and their latency, by the number of connections."""
    with rig.front() as front:
        counted = Counted(rig, front, pace)
        return [
            curve_figure(
                rig,
                "growth_connections",
                "deductions with 320 connections, against 32",
                CONNECTIONS,
                lambda connections: counted.send(counted.plan(connections=connections)),
                x_name="connections",
                turns=pace.turns,
                against=USUAL_CONNECTIONS,
                checks=counted.checks,
            )
        ]


def growth_users(rig: Rig, pace: Pace) -> list[Figure]:
    """Deductions, by the number of people who spend."""
    made = rig.new_database("many")
    sizes = (10, 100, 1_000, 10_000, *pace.of_sizes((100_000, 1_000_000)))
    fill(made, users=sizes[-1], uses=0)
    with made.front() as front:
        counted = Counted(made, front, pace)
        return [
            curve_figure(
                made,
                "growth_users",
                f"deductions spread over {sizes[-1]:,} people, against 1,000",
                sizes,
                lambda users: counted.send(counted.plan(users=users)),
                x_name="people who spend",
                turns=pace.turns,
                against=USERS,
                checks=counted.checks,
            )
        ]


def growth_entries(rig: Rig, pace: Pace) -> list[Figure]:
    """Deductions of the same people, by the number of entries in the books."""
    sizes = (10_000, 100_000, *pace.of_sizes((1_000_000, 5_000_000)))
    with ExitStack() as stack:
        books: dict[int, Counted] = {}
        for size in sizes:
            made = rig.new_database(f"entries_{size}")
            fill(made, users=USERS, uses=0)
            # Others' entries, ten each.
            fill(made, users=(size - USERS) // 10, uses=9, first=2 * USERS)
            books[size] = Counted(made, stack.enter_context(made.front()), pace)

        def measure(size: int) -> Report:
            books[size].per_second()  # pages changed since the checkpoint are in the log whole, once
            return books[size].send(books[size].plan())

        return [
            curve_figure(
                rig,
                "growth_entries",
                f"deductions with {sizes[-1]:,} entries in the books, against {sizes[0]:,}",
                sizes,
                measure,
                x_name="entries in the books",
                turns=pace.turns,
                against=sizes[0],
                checks=lambda: [f"{size:,}: {check}" for size in sizes for check in books[size].checks()],
            )
        ]


def noted(report: Report, latencies: list[float]) -> float:
    """Deductions a second; the p99 goes to `latencies`."""
    latencies.append(report.p99)
    return report.ok / report.seconds


def curve_figure(
    rig: Rig,
    name: str,
    says: str,
    sizes: Sequence[int],
    measure: Callable[[int], Report],
    *,
    x_name: str,
    turns: int,
    against: int,
    checks: Callable[[], list[str]],
) -> Figure:
    """All sizes in turns; the figure is the largest one against `against`."""
    rig.accounts.generators.clear()
    series = {size: Series(name=f"{size:,} {x_name}", unit="deductions/s", values=[]) for size in sizes}
    latencies: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(turns):
        for size, one in series.items():
            rig.settle()
            take(rig, one, lambda size=size: noted(measure(size), latencies[size]))  # type: ignore[misc]
    points = [Point(x=size, values=one.values) for size, one in series.items()]
    slow = [Point(x=size, values=values) for size, values in latencies.items()]
    return figure(
        rig,
        name,
        says,
        [series[sizes[-1]], series[against]],
        must=None,
        aim=None,
        checks=checks(),
        curves=[
            Curve(name="deductions", unit="deductions/s", x_name=x_name, points=points),
            Curve(name="p99", unit="ms", x_name=x_name, points=slow),
        ],
    )
