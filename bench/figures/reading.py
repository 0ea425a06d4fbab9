"""What it costs to look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.fill import fill
from bench.measure import Figure, Pace, Series, figure, in_turns, take
from bench.plan import Plan, Report
from bench.rig import Front, Rig
from simulators.auth import AuthSimulator

BALANCE_PATH = "/api/v1/credits/balance"
LIST_PATH = "/api/v1/credits/transactions"
TOKEN_SECONDS = 24 * 3600


@contextmanager
def front_with_token(rig: Rig, user_id: str) -> Iterator[tuple[Front, dict[str, str]]]:
    """A front with a mana-auth beside it, and the headers of a user of its."""
    with AuthSimulator().on_a_thread() as auth, rig.front(MANA_AUTH_URL=auth.url) as front:
        yield front, {"Authorization": f"Bearer {auth.mint(user_id, ttl_seconds=TOKEN_SECONDS)}"}


def got(rig: Rig, plan: Plan) -> Report:
    """Send reads, all of which must succeed."""
    report = rig.send(plan)
    if report.statuses.keys() != {"200"}:
        raise RuntimeError(f"unexpected answers: {report.statuses}")
    return report


def gets(front: Front, path: str, headers: dict[str, str], pace: Pace, *, connections: int) -> Plan:
    """GET the path again and again."""
    return Plan(
        port=front.port,
        method="GET",
        path=path,
        headers=headers,
        connections=connections,
        seconds=pace.seconds,
    )


def balance_reads(rig: Rig, pace: Pace) -> list[Figure]:
    """Balance by HTTP with a JWT against a bare handler."""
    with front_with_token(rig, "user-1") as (front, headers), rig.front("bench.bare") as bare:

        def reads(of: Front) -> float:
            return got(rig, gets(of, BALANCE_PATH, headers, pace, connections=32)).per_second

        return [
            in_turns(
                rig,
                "balance_reads",
                "GET balance with a JWT, 32 connections, against a bare aiohttp handler",
                ours=("balance", "reads/s", lambda: reads(front)),
                other=("bare handler", "answers/s", lambda: reads(bare)),
                turns=pace.turns,
                must=0.7,
                aim=0.9,
            )
        ]


def transactions_list(rig: Rig, pace: Pace) -> list[Figure]:
    """A person's entries, the first page and one deep in many."""
    entries = pace.of(100_000, 5_000)
    fill(rig, prefix="collector", users=1, uses=entries - 1)
    first_page, deep = f"{LIST_PATH}?limit=50", f"{LIST_PATH}?limit=50&cursor={entries // 20}"
    pages = [Series(name=name, unit="ms", values=[]) for name in ("cursor, deep", "offset 0")]
    p99s = Series(name="p99, the slower of the two", unit="ms", values=[])
    rig.accounts.generators.clear()
    with front_with_token(rig, "collector-0") as (front, headers):
        for _ in range(pace.turns):
            reports: list[Report] = []

            def middle(path: str, reports: list[Report] = reports) -> float:
                reports.append(got(rig, gets(front, path, headers, pace, connections=1)))
                return reports[-1].p50

            take(rig, pages[0], lambda: middle(deep))
            take(rig, pages[1], lambda: middle(first_page))
            p99s.values.append(max(report.p99 for report in reports))
    says = f"GET transactions, 50 of a person's {entries:,}, one connection"
    return [
        figure(rig, "transactions_list", f"{says}: p99", [p99s], must=5.0, aim=None, higher_is_better=False),
        figure(
            rig,
            "transactions_flat",
            f"{says}: p50 of a page {entries // 20:,} from the oldest by cursor, against the newest by offset",
            pages,
            must=1.25,
            aim=None,
            higher_is_better=False,
        ),
    ]
