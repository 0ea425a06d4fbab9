"""A process that can be killed at every point of a piece of work.

`python -m tests.faults.crash_child` reads one JSON line a run: what to do, on which database, and at which
point to die.  Each run is a fork of this process, which has no threads and no connections, so that a run
takes milliseconds.  It answers with the exit status and how many points were passed.

Points are found by running, not by a list kept by hand: before and after every SQL statement, before and
after every commit, before and after every call of Stripe's.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine, event

from domain import buying, stripe_events
from domain.database import make_engine, transaction
from domain.jobs import Handler
from domain.purchases import Wanted
from domain.settings import read_settings
from domain.stripe_gateway import StripeGateway
from tests.support.jobs import run_waiting
from workers.actors import credits as credit_actors
from workers.actors import payments as payment_actors
from workers.parts import Parts

KILLED = 9
APPLICATION_NAME = "mana-credits-crash"

Order = dict[str, Any]


class Points:
    """Counts the points that are passed, and dies at one of them; 0 is none."""

    def __init__(self, die_at: int) -> None:
        self.die_at = die_at
        self.passed = 0

    def pass_one(self, *_: Any, **__: Any) -> None:
        self.passed += 1
        if self.passed == self.die_at:
            os._exit(KILLED)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call with a point before it and one after it."""

        def called(*arguments: Any, **named: Any) -> Any:
            self.pass_one()
            answer = call(*arguments, **named)
            self.pass_one()
            return answer

        return called


def watch(points: Points, engine: Engine, gateway: StripeGateway) -> None:
    event.listen(engine, "before_cursor_execute", points.pass_one)
    event.listen(engine, "after_cursor_execute", points.pass_one)
    dialect: Any = engine.dialect
    dialect.do_commit = points.around(dialect.do_commit)
    http: Any = gateway._http
    http.request = points.around(http.request)


def receive(engine: Engine, _gateway: StripeGateway, order: Order, now: datetime) -> None:
    with transaction(engine) as connection:
        stripe_events.receive(connection, order["event"], now=now)


def work(engine: Engine, gateway: StripeGateway, _order: Order, now: datetime) -> None:
    run_waiting(engine, handlers_of(engine, gateway), lambda: now)


def handlers_of(engine: Engine, gateway: StripeGateway) -> list[Handler]:
    """What workers do about money: events, questions to Stripe, refunds of credits."""
    parts = Parts(read_settings({"ENV": "development"}), engine)
    return [*payment_actors.handlers_with(gateway), *credit_actors.handlers(parts)]


def buy(engine: Engine, gateway: StripeGateway, order: Order, now: datetime) -> None:
    def in_transaction(work: Callable[..., Any]) -> Any:
        with transaction(engine) as connection:
            return work(connection, now)

    buying.buy(in_transaction, gateway, msgspec.convert(order["wanted"], Wanted))


WORKS = {"receive": receive, "work": work, "buy": buy}


def run(order: Order) -> int:
    """In the fork: do the work; how many points there were."""
    points = Points(order["die_at"])
    engine = make_engine(order["database_url"], pool_size=2, application_name=APPLICATION_NAME)
    gateway = StripeGateway("sk_test_crash", api_base=order["stripe_url"])
    # Connecting runs statements of the driver's own, which are no part of the work.
    engine.connect().close()
    watch(points, engine, gateway)
    WORKS[order["what"]](engine, gateway, order, datetime.fromtimestamp(order["now"], UTC))
    engine.dispose()
    return points.passed


def main() -> None:
    # Standard output carries the answers alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        order = json.loads(line)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write_end, str(run(order)).encode())
            os._exit(0)
        os.close(write_end)
        _, status = os.waitpid(child, 0)
        passed = os.read(read_end, 100).decode()
        os.close(read_end)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "passed": passed}), flush=True)


if __name__ == "__main__":
    main()
