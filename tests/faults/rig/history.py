"""Is a recorded history of one account linearizable?

That is: can every operation be given one moment between its beginning and its end, so that the answers are
those of an account that does one thing at a time?  (Herlihy and Wing, 1990.)

Two checkers.  `search` is Wing and Gong's, with memory (Lowe, 2017): it tries every order, knows nothing but
what clients saw, and is for short histories.  `check` is for long ones: the ledger says in which order it
wrote (the entries' versions), so that only the moments are left to be found, in almost linear time.
A test holds the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

NEVER = math.inf
"""The end of an operation whose answer nobody heard: it may have taken effect at any later time."""


@dataclass(frozen=True)
class Account:
    """What an account is, between two operations."""

    balance: Decimal = Decimal(0)
    earned: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)

    def after(self, change: Decimal) -> Account:
        """Once `change` credits were granted, or spent where it is below zero."""
        if change >= 0:
            return Account(self.balance + change, self.earned + change, self.spent)
        return Account(self.balance + change, self.earned, self.spent - change)


@dataclass(frozen=True)
class Seen:
    """What an answer tells of the account; None for what it does not tell."""

    balance: Decimal | None = None
    earned: Decimal | None = None
    spent: Decimal | None = None

    def fits(self, account: Account) -> bool:
        told = ((self.balance, account.balance), (self.earned, account.earned), (self.spent, account.spent))
        return all(one is None or one == other for one, other in told)


@dataclass(frozen=True)
class Operation:
    """A read (`change` is 0) or a write, by the client's clock; `seen` after it took effect.

    `is_known` is false for a write whose answer was lost: it took effect once or never.  `below` is what a
    refusal tells: the account had less than that.
    """

    name: str
    began: float
    ended: float
    change: Decimal = Decimal(0)
    seen: Seen = Seen()
    is_known: bool = True
    below: Decimal | None = None

    def fits(self, account: Account) -> bool:
        """Whether the answer is right, when `account` is what the operation left."""
        if self.below is not None and account.balance >= self.below:
            return False
        return self.seen.fits(account)


def search(operations: Sequence[Operation], first: Account = Account()) -> bool:
    """Whether some order explains everything.  Exponential at worst: for some twenty operations."""
    total = len(operations)
    known = sum(1 << place for place, one in enumerate(operations) if one.is_known)
    tried: set[tuple[int, Account]] = set()
    waiting: list[tuple[int, Account]] = [(0, first)]
    while waiting:
        done, account = waiting.pop()
        if done & known == known:
            return True
        if (done, account) in tried:
            continue
        tried.add((done, account))
        left = [place for place in range(total) if not done >> place & 1]
        # Next may be whatever began before everything that is left and known had ended.
        horizon = min(operations[place].ended for place in left)
        for place in left:
            one = operations[place]
            after = account.after(one.change)
            if one.began <= horizon and after.balance >= 0 and one.fits(after):
                waiting.append((done | 1 << place, after))
    return False


def check(writes: Sequence[Operation], reads: Sequence[Operation], first: Account = Account()) -> list[str]:
    """What is wrong with a history whose writes took effect in this order; nothing when it is linearizable.

    The writes are those that are in the ledger, all of them.  Reads are placed among them.
    """
    states = [first]
    wrong = []
    for write in writes:
        states.append(states[-1].after(write.change))
        if not write.fits(states[-1]):
            wrong.append(f"{write.name} was told {write.seen}, and left {states[-1]}")
    placed = _Placing(writes, reads, states)
    placed.settle()
    chain: list[tuple[int, int, Operation]] = [(place, 0, write) for place, write in enumerate(writes, 1)]
    chain += [(place, 1, read) for read, place in placed.places()]
    return wrong + placed.wrong + _out_of_time(sorted(chain, key=lambda one: one[:2]))


class _Placing:
    """For each read, after how many writes it was.

    Most answers fit one state alone, since totals only grow; a refusal, which tells the balance alone, may
    fit several.  Each begins at the last one that it fits, where it asks the least of what comes later, and
    goes back while that state came into being only after the read had ended.
    """

    def __init__(
        self, writes: Sequence[Operation], reads: Sequence[Operation], states: Sequence[Account]
    ) -> None:
        self.wrong: list[str] = []
        self._writes = writes
        self._fitting: list[tuple[Operation, list[int]]] = []
        by_balance: dict[Decimal, list[int]] = {}
        for place, state in enumerate(states):
            by_balance.setdefault(state.balance, []).append(place)
        for read in reads:
            near = range(len(states)) if read.seen.balance is None else by_balance.get(read.seen.balance, [])
            fitting = [place for place in near if read.fits(states[place])]
            if fitting:
                self._fitting.append((read, fitting))
            else:
                self.wrong.append(f"{read.name} saw {read.seen}, which never was")

    def places(self) -> list[tuple[Operation, int]]:
        return [(read, fitting[-1]) for read, fitting in self._fitting]

    def settle(self) -> None:
        """Go back until nothing has to.  Going back makes others later, never earlier: so this ends, and is right."""
        has_moved = True
        while has_moved:
            has_moved = False
            since = self._since()
            for read, fitting in self._fitting:
                # With one place left it stays there; that it is out of time is told by the chain.
                while len(fitting) > 1 and since[fitting[-1]] > read.ended:
                    fitting.pop()
                    has_moved = True

    def _since(self) -> list[float]:
        """When each state came into being, at the earliest."""
        began = [-NEVER, *(write.began for write in self._writes)]
        for read, place in self.places():
            if place + 1 < len(began):
                began[place + 1] = max(began[place + 1], read.began)
        return list(accumulate(began, max))


def _out_of_time(chain: Sequence[tuple[int, int, Operation]]) -> list[str]:
    """Who ended before something began that must have come earlier; reads of one state are in no order."""
    wrong = []
    latest: Operation | None = None
    waiting: list[Operation] = []
    now = (0, 0)
    for place, kind, one in chain:
        if (place, kind) != now:
            for done in waiting:
                latest = done if latest is None or done.began > latest.began else latest
            waiting, now = [], (place, kind)
        if latest is not None and one.ended < latest.began:
            wrong.append(
                f"{one.name} ({one.began:.3f}–{one.ended:.3f}) must be before"
                f" {latest.name} ({latest.began:.3f}–{latest.ended:.3f}), which it is not"
            )
        waiting.append(one)
    return wrong
