"""The rule of taking back: pure, over what is known."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.taking_back import (
    Reversal,
    ReversalKind,
    ReversalState,
    credits_owed_back,
    merge,
    reversed_cents,
)

AT = datetime(2026, 11, 22, tzinfo=UTC)
COUNTED, VOID, FINAL, OPEN = (
    ReversalState.COUNTED,
    ReversalState.VOID,
    ReversalState.FINAL,
    ReversalState.OPEN,
)


def one(
    kind: ReversalKind,
    cents: int,
    state: ReversalState = COUNTED,
    *,
    name: str = "1",
    day: int = 0,
    charge: str = "ch_1",
) -> Reversal:
    stripe_id = charge if kind is ReversalKind.CHARGE else f"{kind}_{name}"
    return Reversal(
        stripe_id=stripe_id,
        payment_intent_id="pi_1",
        kind=kind,
        charge_id=charge,
        amount_cents=cents,
        state=state,
        seen_at=AT + timedelta(days=day),
    )


def refund(cents: int, state: ReversalState = COUNTED, **more: object) -> Reversal:
    return one(ReversalKind.REFUND, cents, state, **more)  # type: ignore[arg-type]


def dispute(cents: int, state: ReversalState = COUNTED, **more: object) -> Reversal:
    return one(ReversalKind.DISPUTE, cents, state, **more)  # type: ignore[arg-type]


def charge(cents: int, **more: object) -> Reversal:
    return one(ReversalKind.CHARGE, cents, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "cents"),
    [
        ([], 0),
        ([refund(300)], 300),
        ([refund(300), refund(200, name="2")], 500),
        ([charge(500)], 500),
        ([refund(300), charge(500)], 500),
        ([refund(300), refund(200, name="2"), charge(300)], 500),
        ([refund(300, VOID)], 0),
        ([refund(300, VOID), charge(300)], 0),
        ([refund(300, VOID, day=2), charge(500, day=1)], 200),
        ([refund(300, VOID, day=1), charge(200, day=2)], 200),
        ([dispute(1_000)], 1_000),
        ([dispute(1_000, OPEN)], 0),
        ([dispute(1_000, VOID)], 0),
        ([dispute(1_000, FINAL)], 1_000),
        ([refund(400), dispute(600)], 1_000),
        ([refund(400), dispute(1_000)], 1_000),
        ([refund(400), dispute(1_000, VOID)], 400),
        ([refund(700), refund(700, name="2")], 1_000),
        ([charge(300), charge(200, charge="ch_2")], 500),
    ],
)
def test_what_went_back_is_counted_once(known: list[Reversal], cents: int) -> None:
    assert reversed_cents(known, 1_000) == cents


@pytest.mark.parametrize(
    ("cents", "owed"),
    [(0, 0), (1, 1), (333, 499), (500, 750), (999, 1_498), (1_000, 1_500), (2_000, 1_500)],
)
def test_the_share_is_in_credits_rounded_down_and_the_whole_is_the_whole(cents: int, owed: int) -> None:
    assert credits_owed_back(credits_bought=1_500, price_cents=1_000, reversed_cents=cents) == owed


def test_a_refund_that_failed_never_counts_again() -> None:
    failed = refund(300, VOID)
    assert merge(failed, refund(300)) == merge(refund(300), failed) == failed


def test_a_dispute_that_was_lost_may_still_be_reinstated_and_is_not_taken_again() -> None:
    known = merge(dispute(1_000), dispute(1_000, FINAL))
    known = merge(known, dispute(1_000, VOID))
    assert merge(known, dispute(1_000)).state is VOID


def test_a_charges_newest_sum_holds_though_it_is_lower() -> None:
    assert merge(charge(300, day=1), charge(200, day=2)) == charge(200, day=2)
    assert merge(charge(200, day=2), charge(300, day=1)) == charge(200, day=2)


KNOWABLE = [
    kind(cents, **({} if kind is charge else {"state": state}), day=day)
    for kind in (refund, dispute, charge)
    for cents in (200, 300)
    for state in (ReversalState if kind is not charge else [COUNTED])
    for day in (0, 1)
]


def test_what_is_told_of_one_thing_can_be_merged_in_every_order_any_number_of_times() -> None:
    """All triples of everything that may be told of one refund, dispute or charge."""
    checked = 0
    for kind in ReversalKind:
        facts = [fact for fact in KNOWABLE if fact.kind is kind]
        for a, b, c in itertools.product(facts, repeat=3):
            assert merge(a, a) == a
            assert merge(a, b) == merge(b, a)
            assert merge(merge(a, b), c) == merge(a, merge(b, c))
            checked += 1
    print(f"{checked} triples")
    assert checked > 8_000


@given(
    bought=st.integers(1, 10**8),
    price=st.integers(0, 10**8),
    parts=st.lists(st.integers(0, 10**8), max_size=6),
)
def test_more_money_back_is_never_fewer_credits_back(bought: int, price: int, parts: list[int]) -> None:
    owed = [
        credits_owed_back(
            credits_bought=bought,
            price_cents=price,
            reversed_cents=reversed_cents(
                [refund(cents, name=str(n)) for n, cents in enumerate(some)], price
            ),
        )
        for some in (parts[:count] for count in range(len(parts) + 1))
    ]
    assert owed == sorted(owed)
    assert 0 <= owed[-1] <= bought
    if price and sum(parts) >= price:
        assert owed[-1] == bought
