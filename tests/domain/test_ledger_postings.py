"""The rule of the ledger's door, one defence at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from domain.amounts import BALANCE_MAX
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Insufficient, NoBalance, Posted, Replayed, TooLarge
from domain.ledger.post import POSTINGS_PER_CALL_MAX
from tests.support.ledger import (
    NOW,
    balance,
    entries,
    entry_of,
    execute,
    give,
    post,
    scalar,
    set_aside,
    take,
    words,
)

THOUSANDTH = Decimal("0.001")


def test_a_use_takes_from_the_balance_and_counts_as_spent(engine: Engine) -> None:
    post(engine, give("anna", 10))
    [outcome] = post(engine, take("anna", "0.1", metadata={"model": "x"}, idempotency_key="k"))
    assert isinstance(outcome, Posted)
    figures = [outcome.balance, outcome.total_earned, outcome.total_spent]
    assert figures == [Decimal("9.9"), 10, Decimal("0.1")]
    [entry, _] = entries(engine, "anna")
    assert entry == outcome.entry
    assert [entry.amount, entry.balance_before, entry.balance_after] == [Decimal("-0.1"), 10, Decimal("9.9")]
    assert (entry.version, entry.status, entry.created_at, entry.completed_at) == (2, "completed", NOW, NOW)
    assert (entry.metadata, entry.idempotency_key) == ({"model": "x"}, "k")


def test_the_whole_balance_can_be_spent_and_not_a_thousandth_more(engine: Engine) -> None:
    post(engine, give("anna", 10))
    [refused, taken, refused_again] = post(
        engine, take("anna", 10 + THOUSANDTH), take("anna", 10), take("anna", THOUSANDTH)
    )
    assert refused == Insufficient(required=10 + THOUSANDTH, available=Decimal(10))
    assert isinstance(taken, Posted)
    assert refused_again == Insufficient(required=THOUSANDTH, available=Decimal(0))


def test_a_refused_posting_of_a_list_leaves_its_neighbours_alone(engine: Engine) -> None:
    post(engine, give("anna", 5), give("ben", 5))
    outcomes = post(
        engine, take("anna", 3), take("anna", 3), take("nobody", 1), take("ben", 5), take("anna", 2)
    )
    assert words(outcomes) == ["posted", "insufficient", "no_balance", "posted", "posted"]


def test_two_alike_postings_without_keys_are_two(engine: Engine) -> None:
    post(engine, give("anna", 10))
    assert words(post(engine, take("anna", 3), take("anna", 3))) == ["posted", "posted"]
    assert balance(engine, "anna").balance == 4


def test_what_is_held_cannot_be_spent(engine: Engine) -> None:
    post(engine, give("anna", 10))
    outcomes = post(engine, set_aside("anna", 8), take("anna", 3), set_aside("anna", -8))
    assert outcomes[1] == Insufficient(required=Decimal(3), available=Decimal(2))


def test_taking_back_may_leave_a_debt_that_further_use_may_not_deepen(engine: Engine) -> None:
    post(engine, give("anna", 10), take("anna", 9))
    take_back = take("anna", 10, type=EntryType.PURCHASE, counts_as=CountsAs.EARNED, may_overdraw=True)
    [taken_back, used] = post(engine, take_back, take("anna", THOUSANDTH))
    assert isinstance(taken_back, Posted)
    assert taken_back.balance == -9
    assert used == Insufficient(required=THOUSANDTH, available=Decimal(-9))


def test_credits_pay_a_debt_off_first(engine: Engine) -> None:
    debt = take("anna", 9, type=EntryType.PURCHASE, may_overdraw=True)
    post(engine, give("anna", THOUSANDTH), debt)
    [first, second, used] = post(engine, give("anna", 3), give("anna", 7), take("anna", 1))
    assert isinstance(first, Posted)
    assert first.balance == Decimal("-5.999")
    assert isinstance(second, Posted)
    assert second.balance == Decimal("1.001")
    assert isinstance(used, Posted)


def test_a_balance_reaches_the_largest_there_may_be_and_not_a_thousandth_more(engine: Engine) -> None:
    [reached, passed] = post(engine, give("anna", BALANCE_MAX), give("anna", THOUSANDTH))
    assert isinstance(reached, Posted)
    assert isinstance(passed, TooLarge)


def test_somebody_above_the_largest_balance_can_spend(engine: Engine) -> None:
    """A script wrote so: what lowers a balance is never refused for its size."""
    execute(engine, f"INSERT INTO credits.balances (user_id, balance) VALUES ('anna', {BALANCE_MAX + 5})")
    assert words(post(engine, take("anna", 1), give("anna", 1))) == ["posted", "too_large"]


def test_what_was_held_comes_back_whatever_the_balance_became(engine: Engine) -> None:
    """Else one such person would stop the sweep of expired reservations for everybody."""
    post(engine, give("anna", 10), set_aside("anna", 10))
    outcomes = post(engine, give("anna", BALANCE_MAX), give("anna", BALANCE_MAX - 10), set_aside("anna", -10))
    assert words(outcomes) == ["too_large", "posted", "posted"]
    assert balance(engine, "anna").balance == BALANCE_MAX


@pytest.mark.parametrize(
    ("counts_as", "amount", "earned", "spent"),
    [
        (CountsAs.EARNED, "2.5", "22.5", "10"),
        (CountsAs.EARNED, "-2.5", "17.5", "10"),
        (CountsAs.SPENT, "-2.5", "20", "12.5"),
        (CountsAs.RETURNED, "2.5", "20", "7.5"),
        (CountsAs.RETURNED, "10", "20", "0"),
        (CountsAs.RETURNED, "10.001", "20", "0"),
        (CountsAs.NEITHER, "2.5", "20", "10"),
    ],
)
def test_totals_move_as_the_posting_counts(
    engine: Engine, counts_as: CountsAs, amount: str, earned: str, spent: str
) -> None:
    post(engine, give("anna", 20), take("anna", 10))
    [outcome] = post(engine, give("anna", amount, counts_as=counts_as))
    assert isinstance(outcome, Posted)
    assert (outcome.total_earned, outcome.total_spent) == (Decimal(earned), Decimal(spent))


def test_a_posting_for_nobody_is_refused_and_creates_nobody(engine: Engine) -> None:
    assert post(engine, take("nobody", 1)) == [NoBalance()]
    assert scalar(engine, "SELECT count(*) FROM credits.balances") == 0


def test_a_balance_comes_into_being_for_a_posting_that_may_create_it(engine: Engine) -> None:
    outcomes = post(engine, take("anna", 1), give("anna", 3), take("anna", 1))
    assert words(outcomes) == ["insufficient", "posted", "posted"]


def test_a_key_takes_effect_once_and_gives_the_first_entry_again(engine: Engine) -> None:
    post(engine, give("anna", 10))
    first = take("anna", "0.100", posting_key="use:k", metadata={"rate": Decimal("1.50"), "deep": [1, None]})
    [posted] = post(engine, first)
    assert isinstance(posted, Posted)
    again = take("anna", "0.1", posting_key="use:k", metadata={"deep": [1, None], "rate": Decimal("1.5")})
    assert post(engine, again) == [Replayed(entry=entry_of(posted), matches=True)]
    assert balance(engine, "anna").balance == Decimal("9.9")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": Decimal(-2)},
        {"app_id": "other"},
        {"description": "other"},
        {"metadata": {"a": 2}},
        {"metadata": None},
        {"metadata": {}},
        {"type": EntryType.REFUND},
    ],
)
def test_a_key_with_another_request_does_not_match(engine: Engine, change: dict[str, object]) -> None:
    post(engine, give("anna", 10))
    first = take("anna", 1, posting_key="use:k", metadata={"a": 1})
    post(engine, first)
    [outcome] = post(engine, replace(first, id=new_id(NOW), **change))
    assert isinstance(outcome, Replayed)
    assert not outcome.matches
    assert balance(engine, "anna").balance == 9


def test_a_key_repeated_within_a_list_takes_effect_once(engine: Engine) -> None:
    post(engine, give("anna", 10))
    one = take("anna", 1, posting_key="use:k")
    other = take("anna", 2, posting_key="use:k")
    [posted, replayed, different] = post(engine, one, take("anna", 1, posting_key="use:k"), other)
    assert isinstance(posted, Posted)
    assert replayed == Replayed(entry=entry_of(posted), matches=True)
    assert different == Replayed(entry=entry_of(posted), matches=False)
    assert balance(engine, "anna").balance == 9


def test_a_key_used_before_and_repeated_within_a_list_gives_the_first_entry_each_time(engine: Engine) -> None:
    post(engine, give("anna", 10), give("ben", 10))
    [posted] = post(engine, take("anna", 1, posting_key="use:k"))
    assert isinstance(posted, Posted)
    outcomes = post(
        engine,
        take("ben", 1, posting_key="use:k"),
        take("anna", 1, posting_key="use:k"),
        take("anna", 1, posting_key="use:k"),
    )
    assert words(outcomes) == ["posted", "replayed", "replayed"]
    assert outcomes[1:] == [Replayed(entry=entry_of(posted), matches=True)] * 2


def test_another_persons_key_is_another_key(engine: Engine) -> None:
    post(engine, give("anna", 10), give("ben", 10))
    post(engine, take("anna", 1, posting_key="use:k"))
    [outcome] = post(engine, take("ben", 1, posting_key="use:k"))
    assert isinstance(outcome, Posted)
    assert balance(engine, "ben").balance == 9


def test_another_persons_key_is_another_key_within_a_list(engine: Engine) -> None:
    post(engine, give("anna", 10), give("ben", 10))
    in_turn = [take(user_id, 1, posting_key="use:k") for user_id in ("ben", "anna", "ben", "anna")]
    assert words(post(engine, *in_turn)) == ["posted", "posted", "replayed", "replayed"]


def test_another_operations_key_is_another_key(engine: Engine) -> None:
    post(engine, give("anna", 10), take("anna", 5))
    refund = give("anna", 1, type=EntryType.REFUND, counts_as=CountsAs.RETURNED, posting_key="refund:k")
    assert words(post(engine, take("anna", 1, posting_key="use:k"), refund)) == ["posted", "posted"]


def test_a_refused_posting_leaves_its_key_free(engine: Engine) -> None:
    post(engine, give("anna", 1))
    assert words(post(engine, take("anna", 2, posting_key="use:k"))) == ["insufficient"]
    post(engine, give("anna", 1))
    assert words(post(engine, take("anna", 2, posting_key="use:k"))) == ["posted"]


def test_a_refused_posting_leaves_its_key_free_within_its_list(engine: Engine) -> None:
    post(engine, give("anna", 1))
    outcomes = post(
        engine,
        take("anna", 2, posting_key="use:k"),
        give("anna", 1),
        take("anna", 2, posting_key="use:k"),
        take("anna", 2, posting_key="use:k"),
    )
    assert words(outcomes) == ["insufficient", "posted", "posted", "replayed"]


def test_a_replay_needs_no_credits(engine: Engine) -> None:
    post(engine, give("anna", 1))
    post(engine, take("anna", 1, posting_key="use:k"))
    assert words(post(engine, take("anna", 1, posting_key="use:k"))) == ["replayed"]


def test_a_key_on_a_posting_that_makes_no_entry_is_a_mistake_of_ours(engine: Engine) -> None:
    """The entry is where a key is kept."""
    with pytest.raises(ValueError, match="no entry"):
        post(engine, give("anna", 0, posting_key="use:k"))


def test_a_list_longer_than_the_limit_is_a_mistake_of_ours(engine: Engine) -> None:
    post(engine, give("anna", POSTINGS_PER_CALL_MAX))
    with pytest.raises(ValueError, match="1001 postings"):
        post(engine, *[take("anna", 1)] * (POSTINGS_PER_CALL_MAX + 1))
    outcomes = post(engine, *[take("anna", 1, id=new_id(NOW)) for _ in range(POSTINGS_PER_CALL_MAX)])
    assert words(outcomes) == ["posted"] * POSTINGS_PER_CALL_MAX


def test_more_given_back_than_is_held_fails_loudly_and_applies_nothing(engine: Engine) -> None:
    post(engine, give("anna", 10))
    with pytest.raises(IntegrityError, match="balances_held_check"):
        post(engine, take("anna", 1), set_aside("anna", -1))
    assert balance(engine, "anna").balance == 10


def test_a_hold_writes_neither_an_entry_nor_a_usage(engine: Engine) -> None:
    post(engine, give("anna", 10), set_aside("anna", 5), set_aside("anna", -5))
    assert len(entries(engine, "anna")) == 1
    assert scalar(engine, "SELECT count(*) FROM ops.usage_pending") == 0


def test_text_arrives_as_it_was_sent(engine: Engine) -> None:
    text = "\"quoted\" 'single' \\ back\\u0041 %s :name {} \t\n\r ü € 😀 \u2028 \x7f"
    user_id = f"user {text}"
    sent = give(user_id, 1, description=text, app_id=text, metadata={text: [text]}, posting_key=text)
    [posted] = post(engine, sent)
    assert isinstance(posted, Posted)
    assert entries(engine, user_id) == [posted.entry]
    assert post(engine, sent) == [Replayed(entry=entry_of(posted), matches=True)]


def test_figures_stay_exact_to_the_thousandth_at_any_size(engine: Engine) -> None:
    edge = BALANCE_MAX - THOUSANDTH
    [posted] = post(engine, give("anna", edge, posting_key="grant:1", metadata={"n": Decimal("0.1")}))
    assert isinstance(posted, Posted)
    assert entries(engine, "anna")[0].balance_after == edge
    [replayed] = post(engine, give("anna", edge, posting_key="grant:1", metadata={"n": Decimal("0.1")}))
    assert replayed == Replayed(entry=entry_of(posted), matches=True)


def test_an_entry_is_dated_by_the_argument_alone(engine: Engine) -> None:
    then = datetime(2020, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC)
    post(engine, give("anna", 5), now=then)
    assert entries(engine, "anna")[0].created_at == then
    assert balance(engine, "anna").created_at == then
    assert balance(engine, "anna").updated_at == then


def test_an_empty_list_is_nothing(engine: Engine) -> None:
    assert post(engine) == []
