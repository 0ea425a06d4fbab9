"""A year in the life of many people with sync, under a clock of its own; what comes of it is foretold.

People top up, spend, activate, deactivate, change the interval, are given sync and have it taken back, pause and
resume.  Two schedulers fire, two workers work, some are killed, and for two days nothing runs.
`SYNC_YEAR_PEOPLE=10000` lives it with as many; `-s` prints what happened.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from domain import ledger
from domain.errors import Refusal
from domain.sync_billing import renewals, runs
from domain.sync_billing.calendar import Interval
from domain.sync_billing.runs import ChargeRecurring
from scheduler.clock import Scheduler
from scheduler.timetable import Entry, cron
from tests.support.crashes import Killed, engine_that_dies
from tests.support.ledger import at_once, checked_engine, give, post, take
from tests.support.sync import Sync, at
from tests.support.sync_oracle import Person, Refused

PEOPLE = int(os.environ.get("SYNC_YEAR_PEOPLE", "120"))
IS_LONG = PEOPLE > 1000
ACTIONS_EACH = 5 if IS_LONG else 6
DAYS = 366 + 5

YEAR = at("2028-01-01")
OUTAGE = (at("2028-07-30"), at("2028-08-01"))
HOURLY = [
    [
        "2028-01-31",
        "2028-02-29",
        "2028-03-26",
        "2028-03-31",
        "2028-07-31",
        "2028-08-01",
        "2028-10-29",
        "2028-12-31",
    ],
    ["2028-02-28", "2028-02-29", "2028-03-26", "2028-08-01", "2028-10-29"],
][not IS_LONG]
"""Ends of months, the day after the outage, and the nights when clocks in Europe change: hour by hour."""

BY_HAND = {
    "ann": (
        "monthly",
        "2028-01-31",
        "02-29 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31",
        "2029-01-31",
    ),
    "leo": ("yearly", "2028-02-29", "", "2029-02-28"),
    "quinn": ("quarterly", "2028-05-31", "08-31 11-30", "2029-02-28"),
    "thea": ("monthly", "2028-08-30", "09-30 10-30 11-30 12-30", "2029-01-30"),
}
"""When they began, when they were renewed, and what is next: written by hand."""

LIFE = ["top_up"] * 5 + ["spend"] * 2 + ["activate"] * 4 + ["deactivate", "change", "gift", "revoke"]


@dataclass
class Year:
    """The service's year and the oracle's, side by side."""

    sync: Sync
    chance: random.Random
    people: dict[str, Person] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)

    def both(self, name: str, ours: Callable[[], object], foretold: Callable[[], object]) -> None:
        """Do it here and there: both refuse, or neither."""
        try:
            foretold()
        except Refused:
            with pytest.raises(Refusal):
                ours()
            self.happened[f"{name}, refused"] += 1
        else:
            ours()
            self.happened[name] += 1

    def live(self, user_id: str) -> None:
        """Somebody does something, or something is done to them."""
        person, sync, now = self.people[user_id], self.sync, self.sync.now
        interval = self.chance.choices(list(Interval), [6, 2, 1])[0]
        what = self.chance.choice(LIFE)
        match what:
            case "top_up":
                amount = self.chance.choice([20, 40, 100, 400])
                self.both(what, lambda: sync.fund(user_id, amount), lambda: person.top_up(amount))
            case "spend":
                amount = self.chance.randrange(1, 40)
                self.both(what, lambda: self.spend(user_id, amount), lambda: person.spend(amount))
            case "activate":
                asked = self.chance.random() < 0.5
                self.both(
                    what,
                    lambda: sync.activate(user_id, interval, auto_resume=asked),
                    lambda: person.activate(interval.value, asked, now),
                )
            case "deactivate":
                self.both(what, lambda: sync.deactivate(user_id), person.deactivate)
            case "change":
                self.both(what, lambda: sync.change(user_id, interval), lambda: person.change(interval.value))
            case "gift":
                self.both(what, lambda: sync.gift(user_id), lambda: person.gift(now))
            case "revoke":
                self.both(what, lambda: sync.revoke(user_id), lambda: person.revoke(now))

    def begin_by_hand(self, name: str) -> None:
        """One of those whose dates were written by hand begins."""
        interval = BY_HAND[name][0]
        self.sync.activate(name, Interval(interval))
        self.people[name].activate(interval, False, self.sync.now)

    def spend(self, user_id: str, amount: int) -> None:
        [outcome] = post(self.sync.engine, take(user_id, amount), now=self.sync.now)
        ledger.accepted(outcome)

    def sweep(self) -> None:
        """Sync resumes for those who asked for it and have the credits."""
        self.sync.resume()
        self.happened["resumed"] += sum(
            person.resume_if_it_can(self.sync.now) for person in self.people.values()
        )

    def run(self, *, workers: int, killed: bool) -> None:
        """What workers do with the hour's run; with `killed`, one of them dies over it first."""
        if killed:
            with engine_that_dies(
                self.sync.engine.url.render_as_string(False), self.chance.randrange(1, 30)
            ) as engine:
                try:
                    Sync(engine, now=self.sync.now).work()
                except Killed:
                    self.happened["workers killed"] += 1
            self.sync.wait(minutes=5)
        at_once(*[self.sync.work] * workers)
        for person in self.people.values():
            person.charge_if_due(self.sync.now)
        self.happened["runs"] += 1


def two_schedulers(sync: Sync) -> list[Scheduler]:
    """Both have the line of the recurring charge; one leads."""
    entry = Entry("charge_recurring_sync", cron("0 * * * *"), lambda _slot: ChargeRecurring())
    return [Scheduler(sync.engine, [entry], [], clock=lambda: sync.now) for _ in range(2)]


def hours(day: datetime, chance: random.Random) -> list[int]:
    return list(range(24)) if f"{day:%Y-%m-%d}" in HOURLY else [chance.randrange(23)]


def live_a_year(year: Year) -> None:
    """Day by day; on the half hour people act, on the hour the schedulers fire and the workers work."""
    schedulers = two_schedulers(year.sync)
    lives = [user_id for user_id in year.people if user_id not in BY_HAND]
    acts: dict[int, list[str]] = {}
    for user_id in lives * ACTIONS_EACH:
        acts.setdefault(year.chance.randrange(DAYS), []).append(user_id)
    for number in range(DAYS):
        day = YEAR + timedelta(days=number)
        visits = hours(day, year.chance)
        for hour in visits:
            year.sync.now = day + timedelta(hours=hour, minutes=30)
            for name, (_, began, _, _) in BY_HAND.items():
                if f"{day:%Y-%m-%d}" == began and hour == visits[0]:
                    year.begin_by_hand(name)
            for user_id in acts.get(number, []) if hour == visits[0] else []:
                year.live(user_id)
            if OUTAGE[0] <= day < OUTAGE[1]:
                continue
            year.sweep()
            year.sync.now = day + timedelta(hours=hour + 1)
            for scheduler in schedulers:
                year.happened["leads"] += scheduler.tick()
            is_hourly = len(visits) > 1
            year.run(workers=1 + is_hourly, killed=year.chance.random() < (0.15 if is_hourly else 0.05))
    for scheduler in schedulers:
        scheduler._leadership.release()


@pytest.fixture
def year(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Year]:
    if not IS_LONG:
        # So that a run has several chunks, and helpers, also with few people.
        monkeypatch.setattr(renewals, "CHUNK", 4)
        monkeypatch.setattr(runs, "CHUNK", 4)
    with checked_engine(database_url) as engine:
        chance = random.Random(20_280_229)
        made = Year(Sync(engine, now=YEAR), chance)
        made.people = {f"person-{number:05}": Person() for number in range(PEOPLE)}
        made.people |= {name: Person() for name in BY_HAND}
        begin(made, engine)
        yield made


def begin(year: Year, engine: Engine) -> None:
    """Most have credits from the beginning; some never had a balance."""
    gifts = []
    for user_id, person in year.people.items():
        amount = 5000 if user_id in BY_HAND else year.chance.choice([0, 30, 60, 150, 500])
        if amount:
            person.top_up(amount)
            gifts.append(give(user_id, amount))
    for first in range(0, len(gifts), 1000):
        post(engine, *gifts[first : first + 1000], now=YEAR)


def stands(year: Year) -> dict[str, tuple[Any, ...]]:
    """How everybody stands at the service."""
    return {
        row.user_id: tuple(row)[1:]
        for row in year.sync.sql(
            "SELECT user_id, s.active, s.billing_interval, s.next_charge_at, s.paused_at IS NOT NULL, s.is_gifted,"
            " s.auto_resume, b.balance FROM credits.sync_subscriptions s LEFT JOIN credits.balances b USING (user_id)"
        )
    }


def charges(year: Year) -> dict[str, list[Any]]:
    """What everybody was charged for sync, with the period that the key names; oldest first."""
    found: dict[str, list[Any]] = {}
    for row in year.sync.sql(
        "SELECT user_id, substr(posting_key, 6)::timestamptz AS began, -amount AS price, metadata ->> 'type' AS type"
        " FROM credits.transactions WHERE app_id = 'sync' ORDER BY user_id, version"
    ):
        found.setdefault(row.user_id, []).append((row.began, int(row.price), row.type))
    return found


def test_each_person_is_charged_just_once_for_each_period_they_owe(year: Year) -> None:
    live_a_year(year)
    found, paid = stands(year), charges(year)
    for user_id, person in year.people.items():
        assert paid.get(user_id, []) == person.charges, user_id
        if not person.known:
            assert user_id not in found
            continue
        assert found[user_id] == (
            person.active,
            person.interval,
            person.due,
            person.paused,
            person.gifted_at is not None,
            person.auto_resume,
            person.credits,
        ), user_id
    for name, (_, began, renewed, following) in BY_HAND.items():
        dates = [f"{start:%Y-%m-%d}" for start, _, _ in paid[name]]
        assert dates == [began, *[f"2028-{date}" for date in renewed.split()]], name
        assert f"{found[name][2]:%Y-%m-%d}" == following, name
    told = year.sync.sql("SELECT payload FROM ops.jobs WHERE kind = 'send_pause_notice'")
    pauses = sum(person.pauses for person in year.people.values())
    assert len({(row.payload["user_id"], row.payload["paused_at"]) for row in told}) == len(told) == pauses
    assert year.sync.sql("SELECT kind, state FROM ops.jobs WHERE state <> 'done'") == []
    tell(year, pauses)


def tell(year: Year, pauses: int) -> None:
    """Print the year; and see to it that enough happened for it to say something."""
    charged = Counter(kind for person in year.people.values() for _, _, kind in person.charges)
    happened = {**year.happened, "pauses": pauses, **charged}
    print(f"\n{len(year.people)} people, {DAYS} days, two days without service")
    for name, count in sorted(happened.items()):
        print(f"  {count:7,} {name}")
    wanted = ("activate", "deactivate", "change", "gift", "revoke", "resumed", "workers killed", "pauses")
    assert all(happened.get(name, 0) >= 3 for name in wanted), happened
