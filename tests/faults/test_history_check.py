"""The checker of histories refuses the wrong ones, and no right one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.rig.history import NEVER, Account, Operation, Seen, check, search

TEN = Account(balance=Decimal(10), earned=Decimal(10))


def write(name: str, began: float, ended: float, change: int, left: int | None = None) -> Operation:
    seen = Seen() if left is None else Seen(balance=Decimal(left))
    return Operation(name, began, ended, Decimal(change), seen)


def read(name: str, began: float, ended: float, *, earned: int, spent: int) -> Operation:
    seen = Seen(Decimal(earned - spent), Decimal(earned), Decimal(spent))
    return Operation(name, began, ended, seen=seen)


def lost(one: Operation) -> Operation:
    return replace(one, ended=NEVER, seen=Seen(), is_known=False)


def refused(name: str, began: float, ended: float, *, wanted: int, available: int) -> Operation:
    return Operation(name, began, ended, seen=Seen(balance=Decimal(available)), below=Decimal(wanted))


def agree(
    writes: Sequence[Operation], reads: Sequence[Operation], unwritten: Sequence[Operation] = ()
) -> bool:
    """What both say; `unwritten` are writes that the ledger does not have, whose answers were lost."""
    by_order = not check(writes, reads, TEN)
    by_search = search([*writes, *reads, *unwritten], TEN)
    # Without the ledger's order a history can only be explained more easily.
    assert by_search or not by_order
    return by_order


def test_one_after_another_is_linear() -> None:
    spent = write("a", 0, 1, -3, 7)
    assert agree(
        [spent], [read("before", -1, 0, earned=10, spent=0), read("after", 2, 3, earned=10, spent=3)]
    )


def test_a_read_at_the_same_time_may_see_either() -> None:
    spent = write("a", 0, 10, -3, 7)
    for seen in (0, 3):
        assert agree([spent], [read("meanwhile", 2, 3, earned=10, spent=seen)])


def test_a_stale_read_is_refused() -> None:
    stale = read("stale", 2, 3, earned=10, spent=0)
    assert not agree([write("a", 0, 1, -3, 7)], [stale])
    assert not search([write("a", 0, 1, -3, 7), stale], TEN)


def test_a_read_that_goes_back_is_refused() -> None:
    spent = write("a", 0, 10, -3, 7)
    reads = [read("new", 2, 3, earned=10, spent=3), read("old again", 4, 5, earned=10, spent=0)]
    assert not agree([spent], reads)
    assert not search([spent, *reads], TEN)


def test_a_read_of_the_future_is_refused() -> None:
    early = read("early", 0, 1, earned=10, spent=3)
    assert not agree([write("a", 2, 3, -3, 7)], [early])
    assert not search([write("a", 2, 3, -3, 7), early], TEN)


def test_a_lost_update_is_refused() -> None:
    # Both read 10 and wrote what they had reckoned: one of the two is gone.
    first, second = write("a", 0, 1, -3, 7), write("b", 0, 1, -4, 6)
    assert not agree([first, second], [])
    assert not search([first, second], TEN)


def test_a_double_effect_is_refused() -> None:
    spent = write("a", 0, 1, -3, 7)
    twice = read("twice", 2, 3, earned=10, spent=6)
    assert not agree([spent], [twice])
    assert not search([spent, twice], TEN)


def test_an_answer_that_was_lost_may_have_taken_effect_late_or_never() -> None:
    gone = lost(write("a", 0, 1, -3))
    before, after = read("r", 5, 6, earned=10, spent=0), read("s", 7, 8, earned=10, spent=3)
    assert agree([gone], [before, after])
    assert agree([], [before], [gone])
    assert not agree([gone], [after, replace(before, began=9, ended=10)])


def test_a_refusal_needs_a_moment_when_there_was_too_little() -> None:
    spent, given_back = write("a", 0, 1, -8, 2), write("b", 4, 5, 8, 10)
    meanwhile = refused("c", 2, 3, wanted=5, available=2)
    assert agree([spent, given_back], [meanwhile])
    assert not agree([spent, given_back], [replace(meanwhile, began=6, ended=7)])
    assert not agree([spent], [refused("c", 2, 3, wanted=2, available=2)])


def test_writes_in_another_order_than_their_times_are_refused() -> None:
    first, second = write("a", 0, 1, -1), write("b", 2, 3, -1)
    assert agree([first, second], [])
    assert check([second, first], [], TEN)


times = st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Operation], list[Operation]]:
    """A history that really happened to an account, but for a few answers and times that may be wrong."""
    writes, reads = [], []
    states = [TEN]
    for number in range(draw(st.integers(0, 4))):
        change = draw(st.sampled_from([-4, -2, 2, 4]))
        if states[-1].balance + change < 0:
            continue
        states.append(states[-1].after(Decimal(change)))
        began, ended = draw(times)
        left = states[draw(st.integers(max(0, len(states) - 2), len(states) - 1))].balance
        writes.append(write(f"w{number}", began, ended, change, int(left) if draw(st.booleans()) else None))
    for number in range(draw(st.integers(0, 4))):
        state = draw(st.sampled_from(states))
        began, ended = draw(times)
        if draw(st.booleans()):
            seen = Seen(state.balance, state.earned, state.spent)
            reads.append(Operation(f"r{number}", began, ended, seen=seen))
        else:
            available = int(state.balance)
            reads.append(refused(f"x{number}", began, ended, wanted=available + 1, available=available))
    return writes, reads


def in_order(writes: Sequence[Operation], reads: Sequence[Operation]) -> bool:
    """What the search says when it must keep the ledger's order: each write sees a total that only it leaves."""
    state, known = TEN, []
    for one in writes:
        state = state.after(one.change)
        if not one.fits(state):
            return False
        known.append(replace(one, seen=Seen(state.balance, state.earned, state.spent)))
    return search([*known, *reads], TEN)


@given(histories())
def test_both_checkers_say_the_same(history: tuple[list[Operation], list[Operation]]) -> None:
    writes, reads = history
    assert (not check(writes, reads, TEN)) == in_order(writes, reads)
