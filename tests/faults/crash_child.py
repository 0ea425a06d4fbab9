"""A process that can be killed at every point of a piece of work.

`python -m tests.faults.crash_child` reads one JSON line a run: what to do, on which database, and at which
point to die.  Each run that dies is a fork of this process, which has no threads and no connections, so that a
run takes milliseconds.  It answers with the exit status and how many points were passed.

Points are found by running, not by a list kept by hand: before every SQL statement, before and after every commit,
before and after every call of Stripe's.  Who dies right after a statement leaves what they leave who die before the
next statement, commit or call: nothing outside has changed between the two.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine, event

from domain import buying, stripe_inbox
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

    def __init__(self) -> None:
        self.die_at = 0
        self.passed = 0
        self._is_counting = False

    def begin(self, die_at: int) -> None:
        self.die_at, self.passed, self._is_counting = die_at, 0, True

    def stand_still(self) -> None:
        self._is_counting = False

    def pass_one(self, *_: Any, **__: Any) -> None:
        self.passed += self._is_counting
        if self._is_counting and self.passed == self.die_at:
            os._exit(KILLED)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call with a point before it and one after it."""

        def called(*arguments: Any, **named: Any) -> Any:
            self.pass_one()
            answer = call(*arguments, **named)
            self.pass_one()
            return answer

        return called


def receive(engine: Engine, _gateway: StripeGateway, order: Order, now: datetime) -> None:
    with transaction(engine) as connection:
        stripe_inbox.receive(connection, stripe_inbox.arrival(order["event"], now=now), now=now)


def work(engine: Engine, gateway: StripeGateway, _order: Order, now: datetime) -> None:
    run_waiting(engine, handlers_of(engine, gateway), lambda: now)


def handlers_of(engine: Engine, gateway: StripeGateway) -> list[Handler]:
    """What workers do about money: events, questions to Stripe, refunds of credits."""
    parts = Parts(read_settings({"ENV": "development"}), engine)
    return [*payment_actors.handlers_with(gateway, parts.engine), *credit_actors.handlers(parts)]


def buy(engine: Engine, gateway: StripeGateway, order: Order, now: datetime) -> None:
    def in_transaction(work: Callable[..., Any]) -> Any:
        with transaction(engine) as connection:
            return work(connection, now)

    buying.buy(in_transaction, gateway, msgspec.convert(order["wanted"], Wanted))


WORKS = {"receive": receive, "work": work, "buy": buy}


@dataclass
class Worker:
    """An engine on one database, without a connection, that every fork begins with.

    What the first piece of work taught it (statements compiled, the dialect known) the later ones need not learn.
    """

    engine: Engine
    points: Points

    def run(self, order: Order) -> int:
        """Do the work; how many points there were."""
        gateway = StripeGateway("sk_test_crash", api_base=order["stripe_url"])
        # Connecting runs statements of the driver's own, which are no part of the work.
        self.points.stand_still()
        self.engine.connect().close()
        self.points.begin(order["die_at"])
        http: Any = gateway._http
        http.request = self.points.around(http.request)
        WORKS[order["what"]](self.engine, gateway, order, datetime.fromtimestamp(order["now"], UTC))
        self.engine.dispose()
        gateway.close()
        return self.points.passed


@functools.cache
def worker_on(database_url: str) -> Worker:
    points = Points()
    engine = make_engine(database_url, pool_size=2, application_name=APPLICATION_NAME)
    event.listen(engine, "before_cursor_execute", points.pass_one)
    dialect: Any = engine.dialect
    dialect.do_commit = points.around(dialect.do_commit)
    return Worker(engine, points)


def run_in_a_fork(worker: Worker, order: Order) -> tuple[int, str]:
    """The exit status, and how many points were passed if it lived."""
    assert threading.active_count() == 1, "a fork would lose the other threads"
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, str(worker.run(order)).encode())
        os._exit(0)
    os.close(write_end)
    _, status = os.waitpid(child, 0)
    passed = os.read(read_end, 100).decode()
    os.close(read_end)
    return os.waitstatus_to_exitcode(status), passed


def main() -> None:
    # Standard output carries the answers alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        order = json.loads(line)
        worker = worker_on(order["database_url"])
        if order["die_at"]:
            status, passed = run_in_a_fork(worker, order)
        else:
            status, passed = 0, str(worker.run(order))
        print(json.dumps({"status": status, "passed": passed}), flush=True)


if __name__ == "__main__":
    main()
