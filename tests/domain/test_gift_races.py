"""Everybody at once on one gift: one wins, the others hear why not, and no credit is made or lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import Engine

from domain.errors import (
    GiftAlreadyClaimed,
    GiftExpired,
    GiftNotActive,
    GiftNotOpen,
    InsufficientForGift,
)
from domain.gifts import Gift
from tests.support.gifts import (
    LATER,
    OVER,
    attempts,
    cancel,
    expire_due,
    make,
    redeem,
    redeem_pending,
    status,
)
from tests.support.ledger import at_once, balance, give, post, scalar

ROUNDS = 40
JUST_IN_TIME = OVER - timedelta(seconds=1)
REFUSALS = (GiftNotActive, GiftNotOpen, GiftExpired, GiftAlreadyClaimed)


def outcome(work: Callable[[], object]) -> str:
    """What came of it: `won`, or the refusal's code."""
    try:
        result = work()
    except REFUSALS as refusal:
        return refusal.code
    return "won" if result else "nothing to do"


def test_fifty_redeem_one_code_and_one_gets_it(engine: Engine) -> None:
    rounds = 4  # in the first they still wait for connections, one after the other
    post(engine, give("anna", 10 * rounds))
    for done in range(1, rounds + 1):
        gift = make(engine)
        outcomes = at_once(
            *(partial(outcome, partial(redeem, engine, gift.code, f"user-{done}-{n}")) for n in range(50))
        )
        assert Counter(outcomes) == {"won": 1, "gift_not_active": 49}
        kept = Counter(status for _, status in attempts(engine))
        assert kept == {"success": done, "failed_depleted": 49 * done}
    assert scalar(engine, "SELECT sum(balance) FROM credits.balances") == 10 * rounds


def test_cancel_redeem_and_expiry_at_once_have_one_winner_each_time(engine: Engine) -> None:
    post(engine, give("anna", 10))
    winners: Counter[str] = Counter()
    given = 0
    for round_number in range(ROUNDS):
        gift = make(engine)
        contest: dict[str, Callable[[], object]] = {
            "cancel": partial(cancel, engine, gift.id, now=JUST_IN_TIME),
            "redeem": partial(redeem, engine, gift.code, "ben", now=JUST_IN_TIME),
            "expire": partial(expire_due, engine, now=OVER),
            "redeem too late": partial(redeem, engine, gift.code, "cleo", now=OVER),
        }
        # In turns the first to be started, so that each wins now and then.
        names = [*contest][round_number % 4 :] + [*contest][: round_number % 4]
        outcomes = dict(
            zip(names, at_once(*(partial(outcome, contest[name]) for name in names)), strict=True)
        )
        won = [name for name, result in outcomes.items() if result in ("won", "gift_expired")]
        assert len(won) == 1, outcomes
        winners[won[0]] += 1
        ended, redeemed = status(engine, gift)
        expected = {"cancel": "cancelled", "redeem": "depleted"}.get(won[0], "expired")
        assert (ended, redeemed) == (expected, int(won[0] == "redeem"))
        if won[0] == "redeem":
            given += 10
            post(engine, give("anna", 10))
        assert balance(engine, "anna").balance == 10
        assert balance(engine, "anna").total_spent == given
    print(f"{ROUNDS} gifts: {dict(winners)}")


def test_registrations_at_once_share_what_waits_for_one_address(engine: Engine) -> None:
    post(engine, give("anna", 400))
    gifts = [make(engine, total_credits=2, target_email="Ben@X.com") for _ in range(150)]
    work: list[Callable[[], object]] = [
        *(partial(redeem_pending, engine, "ben@x.com") for _ in range(4)),
        *(partial(outcome, partial(redeem, engine, gift.code, "ben", "BEN@x.com")) for gift in gifts[:5]),
        *(partial(outcome, partial(cancel, engine, gift.id)) for gift in gifts[-5:]),
    ]
    random.shuffle(work)
    at_once(*work)
    by_status = Counter(status(engine, gift)[0] for gift in gifts)
    assert by_status["active"] == 0
    assert balance(engine, "ben").balance == 2 * by_status["depleted"]
    assert balance(engine, "anna").balance == 400 - 2 * by_status["depleted"]
    assert set(attempts(engine)) <= {
        ("ben", "success"),
        ("ben", "failed_already_claimed"),
        ("ben", "failed_depleted"),
    }


def test_people_giving_one_another_everything_at_once_neither_lose_credits_nor_wait_for_each_other(
    engine: Engine,
) -> None:
    people = ("anna", "ben", "cleo")
    post(engine, *(give(person, 100) for person in people))
    gifts: list[Gift] = [make(engine, person) for person in people for _ in range(5)]

    def live(person: str, seed: int) -> Counter[str]:
        dice, seen = random.Random(seed), Counter[str]()
        for _ in range(25):
            gift = dice.choice(gifts)
            match dice.randrange(5):
                case 0:
                    try:
                        gifts.append(make(engine, person, dice.randint(1, 9)))
                    except InsufficientForGift as refusal:
                        seen[refusal.code] += 1
                    else:
                        seen["made"] += 1
                case 1:
                    seen[outcome(partial(expire_due, engine, now=OVER))] += 1
                case 2:
                    seen[outcome(partial(cancel, engine, gift.id, gift.creator_id, now=LATER))] += 1
                case _:
                    seen[outcome(partial(redeem, engine, gift.code, person, now=LATER))] += 1
        return seen

    seen = sum(at_once(*(partial(live, people[n % 3], n) for n in range(9))), Counter[str]())
    print(f"accepted and refused: {dict(seen)}")
    assert seen["won"] > 20
    in_gifts = scalar(
        engine, "SELECT coalesce(sum(total_credits), 0) FROM gifts.gift_codes WHERE status = 'active'"
    )
    assert scalar(engine, "SELECT sum(balance) FROM credits.balances") + in_gifts == 300
