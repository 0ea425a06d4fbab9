"""The ledger against its model: whatever is posted, both say the same and hold the same figures."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from itertools import count

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace
from sqlalchemy import Engine, text

from domain.amounts import AMOUNT_MAX, BALANCE_MAX
from domain.database import transaction
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Outcome, Posted, Posting, Replayed
from domain.ledger.model import ModelBalance, ModelLedger
from tests.support.ledger import NOW, entries, post, violations, words

THOUSANDTH = Decimal("0.001")

hostile_amounts = st.one_of(
    st.sampled_from(
        [
            Decimal(0),
            THOUSANDTH,
            Decimal("0.1"),
            Decimal("0.100"),
            Decimal("1E+3"),
            Decimal(1),
            Decimal(5),
            AMOUNT_MAX,
            AMOUNT_MAX - THOUSANDTH,
            BALANCE_MAX,
            BALANCE_MAX - THOUSANDTH,
            BALANCE_MAX + THOUSANDTH,
        ]
    ),
    st.integers(1, 20_000).map(lambda thousandths: thousandths * THOUSANDTH),
)


@st.composite
def wanted_postings(draw: st.DrawFn) -> Posting:
    """Any posting: of user `0` to `3`, who is a number yet."""
    amount = draw(hostile_amounts) * draw(st.sampled_from([1, -1]))
    may_overdraw = amount < 0 and draw(st.booleans())
    held_change = Decimal(0)
    if not may_overdraw and draw(st.booleans()):
        held_change = draw(hostile_amounts) * draw(st.sampled_from([1, -1]))
    return Posting(
        id=new_id(NOW),
        user_id=str(draw(st.integers(0, 3))),
        # A debt is allowed to come from a purchase taken back alone (domain.invariants).
        type=EntryType.PURCHASE if may_overdraw else draw(st.sampled_from(EntryType)),
        amount=amount,
        counts_as=draw(st.sampled_from(CountsAs)),
        app_id=draw(st.sampled_from(["chat", "sync", "ü ' \\ %s :x"])),
        description=draw(st.sampled_from(["", "a question", 'quotes " and \\ and \t'])),
        metadata=draw(st.sampled_from([None, {}, {"a": Decimal("0.1"), "b": [None, True, {"c": "ü"}]}])),
        held_change=held_change,
        idempotency_key=None,
        posting_key=draw(st.sampled_from([None, "use:1", "use:2", "refund:1"])) if amount else None,
        may_overdraw=may_overdraw,
        creates_balance=draw(st.booleans()),
    )


class LedgerMachine(RuleBasedStateMachine):
    """Posts lists for a few new people, to the ledger and to the model."""

    engine: Engine
    runs = count()
    accepted = 0

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"run-{next(LedgerMachine.runs)}-"
        self.model = ModelLedger()
        self.posted: dict[str, list[Posted]] = {}
        self.posted_by_key: dict[tuple[str, str], Posting] = {}

    @rule(wanted=wanted_postings())
    def post_one(self, wanted: Posting) -> None:
        self.post_list([wanted])

    @rule(wanted=st.lists(wanted_postings(), min_size=2, max_size=12))
    def post_many(self, wanted: list[Posting]) -> None:
        self.post_list(wanted)

    @rule(wanted=wanted_postings(), times=st.integers(2, 4))
    def post_the_same_again(self, wanted: Posting, times: int) -> None:
        self.post_list([wanted] * times)

    def post_list(self, wanted: list[Posting]) -> None:
        postings = self.of_this_run(wanted)
        whole = deepcopy(self.model)
        outcomes = post(self.engine, *postings)
        expected = whole.post(postings)
        assert words(outcomes) == expected

        # Again one by one, for the figures after each posting.
        for posting in postings:
            if posting.creates_balance:
                self.model.balances.setdefault(posting.user_id, ModelBalance())
        for posting, outcome, word in zip(postings, outcomes, expected, strict=True):
            assert self.model.post([posting]) == [word]
            self.same_outcome(posting, outcome)
        assert self.model == whole

    def of_this_run(self, wanted: list[Posting]) -> list[Posting]:
        """The postings for this run's people, never giving back more than is held."""
        held = {user_id: account.held for user_id, account in self.model.balances.items()}
        postings = []
        for one in wanted:
            user_id = self.prefix + one.user_id
            held_change = max(one.held_change, -held.get(user_id, Decimal(0)))
            held[user_id] = held.get(user_id, Decimal(0)) + min(held_change, Decimal(0))
            postings.append(replace(one, id=new_id(NOW), user_id=user_id, held_change=held_change))
        return postings

    def same_outcome(self, posting: Posting, outcome: Outcome) -> None:
        match outcome:
            case Posted():
                account = self.model.balances[posting.user_id]
                figures = (outcome.balance, outcome.held, outcome.total_earned, outcome.total_spent)
                assert figures == (account.balance, account.held, account.total_earned, account.total_spent)
                LedgerMachine.accepted += 1
                if posting.amount:
                    assert outcome.entry is not None
                    assert outcome.entry.version == account.version
                    self.posted.setdefault(posting.user_id, []).append(outcome)
                else:
                    assert outcome.entry is None
                if posting.posting_key is not None:
                    self.posted_by_key[posting.user_id, posting.posting_key] = posting
            case Replayed():
                assert posting.posting_key is not None
                first = self.posted_by_key[posting.user_id, posting.posting_key]
                assert outcome.entry.id == first.id
                asked = ("type", "amount", "app_id", "description", "metadata")
                same = all(getattr(first, name) == getattr(posting, name) for name in asked)
                assert outcome.matches == same

    @invariant()
    def balances_are_the_models(self) -> None:
        with self.engine.connect() as connection:
            rows = connection.execute(
                text("""SELECT user_id, balance, held, total_earned, total_spent, version
                        FROM credits.balances WHERE starts_with(user_id, :prefix)"""),
                {"prefix": self.prefix},
            )
            found = {row.user_id: ModelBalance(*row[1:]) for row in rows}
        assert found == self.model.balances

    @invariant()
    def entries_are_the_models(self) -> None:
        for user_id in self.model.balances:
            found = entries(self.engine, user_id)[::-1]
            assert found == [outcome.entry for outcome in self.posted.get(user_id, [])]
            of_model = [posting for posting in self.model.entries if posting.user_id == user_id]
            assert [entry.id for entry in found] == [posting.id for posting in of_model]

    def teardown(self) -> None:
        """What is held gets its reservation, as callers of the ledger must see to; then the books add up."""
        with transaction(self.engine) as connection:
            connection.execute(
                text("""INSERT INTO credits.reservations (user_id, amount, reason, expires_at)
                        SELECT user_id, held, 'test', now() FROM credits.balances
                        WHERE starts_with(user_id, :prefix) AND held > 0"""),
                {"prefix": self.prefix},
            )
        assert violations(self.engine) == []


def test_the_ledger_does_what_its_model_does(engine: Engine) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.engine = engine
    LedgerMachine.accepted = 0
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{LedgerMachine.accepted} postings were accepted")
    assert LedgerMachine.accepted > 0
