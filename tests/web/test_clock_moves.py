"""The machine's clock is set back an hour and forward a day while the service runs: books and ids stay right."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine

from tests.support.service import Service

START = datetime(2028, 2, 28, 23, 30, tzinfo=UTC)
"""The eve of a leap day."""

MOVES = (timedelta(0), timedelta(hours=-1), timedelta(days=1), timedelta(hours=-1), timedelta(days=366))


async def spend(service: Service, name: str) -> list[dict[str, Any]]:
    service.tokens.clear()  # mana-auth goes by the same clock
    done = []
    for number in range(3):
        body = (await service.use("anna", 1, idempotencyKey=f"{name}-{number}")).ok()
        done.append(body["transaction"])
    return done


async def test_entries_keep_their_order_and_their_chain_when_the_clock_is_moved(service: Service) -> None:
    now = START
    spent: list[dict[str, Any]] = []
    with time_machine.travel(now, tick=True) as clock:
        (await service.grant("anna", 100)).ok()
        for number, move in enumerate(MOVES):
            now += move
            clock.move_to(now)
            spent += await spend(service, str(number))
        listed = (await service.user("anna", "GET", "/transactions?limit=100")).ok()
    assert len(listed) == len(spent) + 1
    assert len({entry["id"] for entry in listed}) == len(listed)
    balances = [entry["balanceAfter"] for entry in spent]
    assert balances == list(range(99, 99 - len(spent), -1))
    # Newest first, each beginning where the one below it ended, whatever the clock said.
    for newer, older in itertools.pairwise(listed):
        assert newer["balanceBefore"] == older["balanceAfter"]


async def test_a_key_is_remembered_across_a_moved_clock(service: Service) -> None:
    with time_machine.travel(START, tick=True) as clock:
        (await service.grant("anna", 100)).ok()
        first = (await service.use("anna", 5, idempotencyKey="once")).ok()
        for move in MOVES:
            clock.move_to(START + move)
            service.tokens.clear()
            again = (await service.use("anna", 5, idempotencyKey="once")).ok()
            assert again["transaction"] == first["transaction"]
        assert await service.figures("anna") == (95, 100, 5)
