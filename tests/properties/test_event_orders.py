"""Every order of a payment's events, and every repeat, ends in the same books.

Enumerated where:

* against the rule in pure Python: all 8! orders of {processing, payment_failed, succeeded, refund part 1,
  refund part 2, dispute created, funds withdrawn, dispute closed}, for a dispute won and one lost, refunds
  told by their charge and by themselves;
* against PostgreSQL, through `receive` and `handle`, by induction, for two of the four: from the books that
  each of the 256 sets of these events leads to, each of the eight leads to the books of the larger set, and
  told again changes nothing.  So every order of every choice of them, each told any number of times, ends in
  the books of its set; and those are the right ones;
* against PostgreSQL, from beginning to end, lest the step were taken for more than it is: all orders of every
  subset of up to three of these events (of up to two for the two that are proven by induction), and orders of all
  eight, evenly spread over the 8!, with each event told one to three times, by events of their own, the repeats
  anywhere.

That repeats and orders of what is told of one refund, dispute or charge do not matter is proven for all
triples in tests/domain/test_taking_back.py.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.pq import ExecStatus
from sqlalchemy import Connection, Engine, select, text

from domain import ledger, stripe_events, stripe_facts, stripe_inbox, tables
from domain.database import transaction
from domain.payments import Payment, PaymentState
from domain.settling import next_status
from domain.taking_back import Reversal, credits_owed_back, merge, reversed_cents
from tests.support.told import FIRST, Object, Told, again

CENTS, CREDITS = 1_000, 1_500
PARTS = (300, 200)
DISPUTED = 500

NAMES = ("processing", "failed", "succeeded", "refund_1", "refund_2", "created", "withdrawn", "closed")
STATES = {
    "payment_intent.processing": PaymentState.PROCESSING,
    "payment_intent.payment_failed": PaymentState.FAILED,
    "payment_intent.succeeded": PaymentState.PAID,
}


def story(told: Told, *, won: bool, by_charge: bool) -> dict[str, Object]:
    """What happened to the payment, by the names above."""
    if by_charge:
        refunds = [told.charge_refunded(PARTS[0], seconds=40), told.charge_refunded(sum(PARTS), seconds=50)]
    else:
        refunds = [told.refund(str(n), cents, seconds=40 + n) for n, cents in enumerate(PARTS)]
    return {
        "processing": told.processing(),
        "failed": told.failed(),
        "succeeded": told.succeeded(),
        "refund_1": refunds[0],
        "refund_2": refunds[1],
        "created": told.dispute("created", "needs_response", cents=DISPUTED),
        "withdrawn": told.dispute("funds_withdrawn", "needs_response", cents=DISPUTED, seconds=61),
        "closed": told.dispute("closed", "won" if won else "lost", cents=DISPUTED, seconds=70),
    }


def right_end(names: Iterable[str], *, won: bool, by_charge: bool) -> tuple[str, int, int]:
    """What must come of it, reckoned without the rule: status, credits given, credits taken back."""
    known = set(names)
    if "succeeded" not in known:
        return ("failed" if "failed" in known else "pending"), 0, 0
    gone = 0
    if by_charge:
        gone += sum(PARTS) if "refund_2" in known else PARTS[0] if "refund_1" in known else 0
    else:
        gone += sum(cents for n, cents in enumerate(PARTS, 1) if f"refund_{n}" in known)
    if "closed" in known:
        gone += 0 if won else DISPUTED
    elif known & {"created", "withdrawn"}:
        gone += DISPUTED
    return "completed", CREDITS, CREDITS if gone >= CENTS else math.floor(Decimal(CREDITS) * gone / CENTS)


Fact = Payment | Reversal


def fact_of(event: Object) -> Fact:
    obj, at = event["data"]["object"], datetime.fromtimestamp(event["created"], UTC)
    fact: Fact | None
    if event["type"] in STATES:
        fact = stripe_facts.payment_of_intent(obj, at, STATES[event["type"]])
    elif event["type"] == "charge.refunded":
        fact = stripe_facts.reversal_of_charge(obj, at)
    elif event["type"].startswith("refund."):
        fact = stripe_facts.reversal_of_refund(obj, at)
    else:
        fact = stripe_facts.reversal_of_dispute(obj, at, event["type"])
    assert fact is not None
    return fact


def end_by_the_rule(facts: Iterable[Fact]) -> tuple[str, int, int]:
    """The rule of domain.settling in pure Python."""
    status, told_at, reversals = "pending", None, dict[str, Reversal]()
    for fact in facts:
        if isinstance(fact, Reversal):
            reversals[fact.stripe_id] = merge(reversals.get(fact.stripe_id), fact)
        else:
            status = next_status(status, told_at, fact)
            if fact.state is not PaymentState.PAID:
                told_at = max(fact.at, told_at or fact.at)
    if status != "completed":
        return status, 0, 0
    gone = reversed_cents(reversals.values(), CENTS)
    owed = credits_owed_back(credits_bought=CREDITS, price_cents=CENTS, reversed_cents=gone)
    return status, CREDITS, owed


@pytest.mark.parametrize("by_charge", [True, False])
@pytest.mark.parametrize("won", [True, False])
def test_by_the_rule_all_orders_of_all_events_end_alike(won: bool, by_charge: bool) -> None:
    told = story(Told("pi_1", uuid4()), won=won, by_charge=by_charge)
    facts = [fact_of(told[name]) for name in NAMES]
    expected = right_end(NAMES, won=won, by_charge=by_charge)
    orders = 0
    for order in itertools.permutations(facts):
        assert end_by_the_rule(order) == expected
        orders += 1
    print(f"{orders} orders")
    assert orders == math.factorial(len(NAMES))


class Purchases:
    """Purchases in bulk, one a sequence of events, without Stripe: their intents are only named."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.handled = 0

    def play(self, sequences: Sequence[Sequence[str]], *, won: bool, by_charge: bool) -> None:
        """Tell each sequence to a purchase of its own; then look at all of them."""
        people = [f"{won}-{by_charge}-{self.handled}-{number}" for number in range(len(sequences))]
        purchases = [uuid4() for _ in people]
        with transaction(self.engine) as connection:
            connection.execute(
                tables.purchases.insert(),
                [
                    {"id": purchase, "user_id": person, "credits": CREDITS, "price_euro_cents": CENTS}
                    for person, purchase in zip(people, purchases, strict=True)
                ],
            )
            for purchase, names in zip(purchases, sequences, strict=True):
                told = story(Told(f"pi_{purchase.hex}", purchase), won=won, by_charge=by_charge)
                for name in names:
                    event = again(told[name])
                    stripe_inbox.receive(connection, stripe_inbox.arrival(event, now=FIRST), now=FIRST)
                    stripe_events.handle(connection, event["id"], now=FIRST)
                    self.handled += 1
            rows = {
                row.id: row
                for row in connection.execute(
                    select(tables.purchases).where(tables.purchases.c.id.in_(purchases))
                )
            }
            for person, purchase, names in zip(people, purchases, sequences, strict=True):
                status, given, taken = right_end(names, won=won, by_charge=by_charge)
                row, balance = rows[purchase], ledger.balance_of(connection, person)
                assert (row.status, row.credits_taken_back) == (status, taken), names
                has: Any = (0, 0) if balance is None else (balance.balance, balance.total_earned)
                assert has == (given - taken, given - taken), names


@pytest.fixture
def purchases(engine: Engine) -> Purchases:
    return Purchases(engine)


class Step:
    """One purchase, and what its books become by one event more, tried and undone by savepoints."""

    def __init__(self, connection: Connection, *, won: bool, by_charge: bool) -> None:
        self.connection = connection
        self.purchase_id = uuid4()
        self.intent_id = f"pi_{self.purchase_id.hex}"
        self.told = story(Told(self.intent_id, self.purchase_id), won=won, by_charge=by_charge)
        self.ends: dict[frozenset[str], Any] = {}
        self.steps: dict[tuple[frozenset[str], str], Any] = {}
        values = {"id": self.purchase_id, "user_id": "anna", "credits": CREDITS, "price_euro_cents": CENTS}
        connection.execute(tables.purchases.insert().values(values))

    def explore(self, known: frozenset[str] = frozenset(), least: int = 0) -> None:
        """Take every step from where `known` has led, and go on from the books that it leads to.

        Each set is reached once, by its events in the order of NAMES.  What is told again is not undone: it must
        change nothing.
        """
        self.ends[known] = self.books()
        for name in sorted(known):
            self.take(known, name)
            assert self.steps[known, name] == self.ends[known], (sorted(known), name)
        savepoint = f"after_{len(known)}"
        self.send(f"SAVEPOINT {savepoint}")
        for number, name in enumerate(NAMES):
            if name not in known:
                self.take(known, name)
                if number >= least:
                    self.explore(known | {name}, number + 1)
                self.send(f"ROLLBACK TO SAVEPOINT {savepoint}")

    def take(self, known: frozenset[str], name: str) -> None:
        """Tell one event by an event of its own, and keep what the books have become."""
        event = again(self.told[name])
        stripe_inbox.receive(self.connection, stripe_inbox.arrival(event, now=FIRST), now=FIRST)
        stripe_events.handle(self.connection, event["id"], now=FIRST)
        self.steps[known, name] = self.books()

    def send(self, command: str) -> None:
        """Past psycopg, which after any ROLLBACK has every statement planned anew."""
        connection = self.connection.connection.driver_connection
        assert isinstance(connection, psycopg.Connection)
        result = connection.pgconn.exec_(command.encode())
        assert result.status == ExecStatus.COMMAND_OK, result.error_message

    def books(self) -> Any:
        """All that handling reads, and the balance: every column but the count of postings that names them."""
        names = {"purchase": self.purchase_id, "intent": self.intent_id, "person": "anna"}
        row, reversals, balance = self.connection.execute(BOOKS, names).one()
        return row, reversals, (0, 0, 0) if balance is None else tuple(balance)


BOOKS = text("""
    SELECT (SELECT to_jsonb(p) - 'take_backs' FROM credits.purchases p WHERE id = :purchase),
           (SELECT jsonb_agg(to_jsonb(r) ORDER BY stripe_id)
            FROM credits.purchase_reversals r WHERE payment_intent_id = :intent),
           (SELECT jsonb_build_array(balance, total_earned, total_spent)
            FROM credits.balances WHERE user_id = :person)
""")


PROVEN_BY_INDUCTION = [(True, False), (False, True)]


@pytest.mark.parametrize(("won", "by_charge"), PROVEN_BY_INDUCTION)
def test_in_the_books_every_event_leads_from_every_set_of_events_to_the_books_of_the_larger_set(
    engine: Engine, won: bool, by_charge: bool
) -> None:
    with engine.connect() as connection:
        step = Step(connection, won=won, by_charge=by_charge)
        step.explore()
        connection.rollback()
    assert (len(step.ends), len(step.steps)) == (2 ** len(NAMES), len(NAMES) * 2 ** len(NAMES))
    for (known, name), books in step.steps.items():
        assert books == step.ends[known | {name}], (sorted(known), name)
    for known, (row, _, has) in step.ends.items():
        status, given, taken = right_end(known, won=won, by_charge=by_charge)
        assert (row["status"], row["credits_taken_back"], row["problem"]) == (status, taken, None), known
        assert has == (given - taken, given - taken, 0), known
    print(f"{len(step.steps)} steps between {len(step.ends)} sets")


@pytest.mark.parametrize("by_charge", [True, False])
@pytest.mark.parametrize("won", [True, False])
def test_in_the_books_all_orders_of_few_events_end_alike(
    purchases: Purchases, won: bool, by_charge: bool
) -> None:
    sizes = (1, 2) if (won, by_charge) in PROVEN_BY_INDUCTION else (1, 2, 3)
    sequences = [order for size in sizes for order in itertools.permutations(NAMES, size)]
    purchases.play(sequences, won=won, by_charge=by_charge)
    print(f"{len(sequences)} sequences, {purchases.handled} events handled")


@pytest.mark.parametrize("by_charge", [True, False])
@pytest.mark.parametrize("won", [True, False])
def test_in_the_books_all_events_told_one_to_three_times_end_alike(
    purchases: Purchases, won: bool, by_charge: bool
) -> None:
    chance = random.Random(f"{won} {by_charge}")
    spread = itertools.islice(itertools.permutations(NAMES), 0, None, math.factorial(len(NAMES)) // 30)
    sequences = []
    for order in spread:
        told = list(order)
        for name in NAMES:
            for _ in range(chance.randint(0, 2)):
                told.insert(chance.randint(0, len(told)), name)
        sequences.append(told)
    purchases.play(sequences, won=won, by_charge=by_charge)
    print(f"{len(sequences)} sequences, {purchases.handled} events handled")
