"""A key makes a request take effect once, and its answer is kept to the digit."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine

from domain import idempotency, ledger, reservations
from domain.database import transaction
from domain.errors import AnswerForgotten, IdempotencyKeyReused, InsufficientCredits, ReservationExpired
from domain.idempotency import ANSWERS_KEPT, Answer, ForgetOldAnswers, Forgotten, Key, forget, once
from tests.support.ledger import NOW, at_once, balance, give, post, scalar, take, words

KEY = Key(user_id="anna", operation="reserve", key="k")
REQUEST = {"amount": Decimal(5), "reason": "chat"}

to_json = msgspec.json.Encoder(decimal_format="number").encode


class Worker:
    """Counts how often it works; its answer says the how-manieth it is."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.runs = 0
        self.answer = answer

    def __call__(self) -> Answer:
        self.runs += 1
        return {"run": self.runs} if self.answer is None else self.answer


def ask(engine: Engine, work: Any, request: object = REQUEST, key: Key | None = KEY) -> Answer:
    with transaction(engine) as connection:
        return once(connection, key, request, work, now=NOW)


def test_the_same_request_gets_the_first_answer_and_works_once(engine: Engine) -> None:
    work = Worker()
    assert [ask(engine, work) for _ in range(3)] == [{"run": 1}] * 3
    assert work.runs == 1


def test_an_answer_comes_back_to_the_digit_and_in_its_order(engine: Engine) -> None:
    answer: Answer = {
        "z": Decimal("0.100"),
        "a": Decimal("999999999999.999"),
        "whole": Decimal(5),
        "big": 2**63,
        "tiny": Decimal("0.0000000000000000000000000001"),
        "text": 'ü € 😀 " \\ \u2028',
        "list": [1, None, True, {"b": 1, "a": 2}],
        "when": NOW,
        "none": None,
    }
    work = Worker(answer)
    first, again = to_json(ask(engine, work)), to_json(ask(engine, work))
    assert first.replace(b"2026-11-22T15:28:32.039000Z", b"") == again.replace(
        b"2026-11-22T15:28:32.039000Z", b""
    )


def test_a_request_is_the_same_in_whatever_order_its_fields_come(engine: Engine) -> None:
    work = Worker()
    ask(engine, work, {"a": 1, "b": {"c": 1, "d": 2}})
    ask(engine, work, {"b": {"d": 2, "c": 1}, "a": 1})
    assert work.runs == 1


@pytest.mark.parametrize(
    "other",
    [
        {"amount": Decimal(6), "reason": "chat"},
        {"amount": Decimal(5), "reason": "other"},
        {"amount": Decimal(5), "reason": "chat", "more": None},
        {"amount": Decimal(5)},
        {"amount": "5", "reason": "chat"},
        None,
    ],
)
def test_another_request_with_the_key_is_refused_and_does_nothing(engine: Engine, other: object) -> None:
    work = Worker()
    ask(engine, work)
    with pytest.raises(IdempotencyKeyReused):
        ask(engine, work, other)
    assert work.runs == 1
    assert ask(engine, work) == {"run": 1}


@pytest.mark.parametrize(
    "other",
    [
        Key(user_id="ben", operation="reserve", key="k"),
        Key(user_id="anna", operation="commit", key="k"),
        Key(user_id="anna", operation="reserve", key="K"),
    ],
)
def test_another_person_operation_or_key_is_another(engine: Engine, other: Key) -> None:
    work = Worker()
    assert ask(engine, work) == {"run": 1}
    assert ask(engine, work, key=other) == {"run": 2}


def test_without_a_key_it_simply_works(engine: Engine) -> None:
    work = Worker()
    assert [ask(engine, work, key=None) for _ in range(2)] == [{"run": 1}, {"run": 2}]


def test_a_refused_request_leaves_its_key_free(engine: Engine) -> None:
    post(engine, give("anna", 4))

    def reserve() -> Answer:
        with transaction(engine) as connection:
            return once(connection, KEY, REQUEST, lambda: reserving(connection), now=NOW)

    def reserving(connection: Connection) -> Answer:
        reserved = reservations.reserve(connection, user_id="anna", amount=Decimal(5), reason="chat", now=NOW)
        return {"balance": reserved.balance}

    with pytest.raises(InsufficientCredits):
        reserve()
    post(engine, give("anna", 4))
    assert reserve() == {"balance": Decimal(3)}
    assert reserve() == {"balance": 3}
    assert balance(engine, "anna").balance == 3


def test_a_recorded_refusal_is_kept_and_leaves_its_key_free(engine: Engine) -> None:
    post(engine, give("anna", 5))
    with transaction(engine) as connection:
        reserved = reservations.reserve(connection, user_id="anna", amount=Decimal(5), reason="chat", now=NOW)

    def commit() -> Answer:
        with transaction(engine) as connection:
            return once(connection, KEY, REQUEST, lambda: committing(connection), now=NOW)

    def committing(connection: Connection) -> Answer:
        late = NOW + timedelta(days=2)
        return {"id": reservations.commit(connection, reserved.reservation_id, now=late).id}

    with pytest.raises(ReservationExpired):
        commit()
    assert balance(engine, "anna").balance == 5  # what the refusal recorded is kept
    assert scalar(engine, "SELECT count(*) FROM ops.idempotent_answers") == 0
    assert ask(engine, Worker(), "another request") == {"run": 1}


def test_an_outage_leaves_the_key_free(engine: Engine) -> None:
    def fail() -> Answer:
        raise ConnectionError("cut off")

    with pytest.raises(ConnectionError):
        ask(engine, fail)
    assert ask(engine, Worker(), "another request") == {"run": 1}


def test_equal_keys_at_once_work_once_and_get_the_same_answer(engine: Engine) -> None:
    post(engine, give("anna", 100))

    def take_once() -> Answer:
        with transaction(engine) as connection:

            def taking() -> Answer:
                ledger.post(connection, [take("anna", 1)], now=NOW)
                return {"thread": threading.get_ident()}

            return once(connection, KEY, REQUEST, taking, now=NOW)

    answers = at_once(*[take_once] * 8)
    assert answers == [answers[0]] * 8
    assert balance(engine, "anna").balance == 99


def test_equal_keys_at_once_of_which_the_first_is_refused_are_all_tried(engine: Engine) -> None:
    """A refusal is no answer to keep: each asks for itself, and the first that may, does."""
    post(engine, give("anna", 100))
    refusals = iter([True] * 3)

    def work() -> Answer:
        if next(refusals, False):
            raise InsufficientCredits(Decimal(1), Decimal(0))
        return {"done": True}

    def try_it() -> str:
        try:
            return str(ask(engine, work))
        except InsufficientCredits:
            return "refused"

    assert Counter(at_once(*[try_it] * 8)) == {"refused": 3, "{'done': True}": 5}
    assert words(post(engine, take("anna", 1))) == ["posted"]


def forget_all(engine: Engine, now: datetime) -> int:
    """All steps of the job, each in a transaction of its own."""
    done, has_more = Forgotten(), True
    while has_more:
        with transaction(engine) as connection:
            done, has_more = forget(connection, ForgetOldAnswers(), done, now)
    return done.count


def test_an_old_answer_is_forgotten_and_its_key_is_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "KEYS_PER_CALL_MAX", 3)
    work = Worker()
    for number in range(7):
        ask(engine, work, key=Key(user_id=f"user-{number % 3}", operation="reserve", key=f"k{number}"))
    assert forget_all(engine, NOW + ANSWERS_KEPT) == 0
    ask(engine, work, key=KEY)
    late = NOW + ANSWERS_KEPT + timedelta(seconds=1)
    with transaction(engine) as connection:
        once(connection, Key(user_id="young", operation="reserve", key="k"), REQUEST, work, now=late)
    assert forget_all(engine, late) == 8
    assert forget_all(engine, late) == 0
    runs = work.runs
    with pytest.raises(AnswerForgotten):
        ask(engine, work, key=KEY)
    with pytest.raises(IdempotencyKeyReused):
        ask(engine, work, {"amount": 6}, key=KEY)
    assert ask(engine, work, key=Key(user_id="young", operation="reserve", key="k")) == {"run": runs}
    assert work.runs == runs
