"""What a log may not hold is taken out of text; what it should hold stays."""

import time
from typing import Any

import pytest

from domain.gifts.codes import new_code
from domain.scrubbing import DEPTH_MAX, TEXT_CHARACTERS_MAX, Scrubber, scrubber_of
from domain.settings import read_settings

SECRETS = {
    "ENV": "production",
    "MANA_SERVICE_KEY": "first-key-of-ours, second-key-of-ours",
    "STRIPE_WEBHOOK_SECRET": "plain-webhook-secret",
    "STRIPE_SECRET_KEY": "plain-stripe-key",
    "DATABASE_URL": "postgresql://mana:p%40ss-of-the-base@db/mana",
    "REDIS_URL": "redis://:pass-of-redis@redis/0",
    "LOG_USER_IDS": "hashed",
    "LOG_USER_IDS_KEY": "key-of-the-pseudonyms",
}
VALUES = (
    *("first-key-of-ours", "second-key-of-ours", "plain-webhook-secret", "plain-stripe-key"),
    *("p%40ss-of-the-base", "p@ss-of-the-base", "pass-of-redis", "key-of-the-pseudonyms"),
)


def scrubbed(**line: Any) -> dict[str, Any]:
    return scrubber_of(read_settings(SECRETS))(None, "info", line)


@pytest.mark.parametrize("secret", VALUES)
def test_our_own_secrets_are_taken_out_wherever_they_stand(secret: str) -> None:
    line = scrubbed(event=f"x{secret}y", error=ValueError(secret), nested={"a": [{secret: (secret,)}]})
    assert secret not in repr(line)
    assert line["event"].startswith("x[")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdef.ghi-jkl", "abcdef"),
        ("got eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJl", "eyJ"),
        ("half a token eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm5hIn0", "eyJ"),
        ("key sk_" + "live_51Hx0aBc", "51Hx0aBc"),
        ("key rk_test_51Hx0aBc", "51Hx0aBc"),
        ("whsec_abcDEF123", "abcDEF123"),
        ("pi_3Abc_secret_Xyz9", "Xyz9"),
        ("t=1,v1=" + "ab12" * 16, "ab12ab12"),
        ("connect to postgresql://me:hush@db:5432/x failed", "hush"),
        ("password=hush", "hush"),
        ('{"password": "hush"}', "hush"),
        ("api_key: 'hush'", "hush"),
        ("to anna.smith+1@example.co.uk, now", "anna"),
        ("to anna.smith+1@example.co.uk, now", "example"),
        ("?email=anna%40example.org&x", "anna"),
        ("<müller@straße.de>", "ller"),
        ("anna@localhost", "anna"),
        ("GET /g/ABC234 and", "ABC234"),
        ("GET /api/v1/gifts/abcdefghjk/redeem", "abcdefghjk"),
        ("code='QWERTY'", "QWERTY"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, secret: str) -> None:
    done = Scrubber(()).text(text)
    assert secret not in done, done
    assert "[" in done


def test_gift_codes_are_taken_out_in_capitals_and_in_small_letters_with_a_digit() -> None:
    for _ in range(300):
        code = new_code()
        assert code not in Scrubber(()).text(f"the code {code} is spent")
        if not code.isalpha() and not code.isdigit():
            assert code.lower() not in Scrubber(()).text(f"the code {code.lower()} is spent")


@pytest.mark.parametrize(
    "text",
    [
        "job_attempt_failed",
        "01a204b0-b3db-7365-bbf4-b437f630adeb",
        "2026-11-22T15:28:32.039Z",
        "OperationalError: connection to server at 127.0.0.1, port 5432 failed: Connection refused",
        '  File "/srv/mana-credits/web/routes/gifts.py", line 12, in redeem',
        "/api/v1/internal/credits/balance/{userId}",
        "/api/v1/gifts/me/received",
        "evt_1Abc pi_3Abc cs_test_a1",
        "CheckViolation: new row violates check constraint",
        "handle_stripe_event",
    ],
)
def test_what_a_log_is_for_stays(text: str) -> None:
    assert Scrubber(()).text(text) == text


def test_people_are_named_by_a_keyed_digest_where_asked() -> None:
    line = scrubbed(event="x", user_id="anna", user=None)
    assert line["user_id"].startswith("u_")
    assert "anna" not in repr(line)
    assert line == scrubbed(event="x", user_id="anna", user=None)
    other = Scrubber((), pseudonym_key="another")(None, "info", {"user_id": "anna"})
    assert other["user_id"] != line["user_id"]
    assert Scrubber(())(None, "info", {"user_id": "anna"})["user_id"] == "anna"
    assert "hush" not in Scrubber(())(None, "info", {"user_id": "x:hush@y"})["user_id"]


def test_what_is_long_or_deep_is_cut_and_takes_no_time() -> None:
    deep: Any = "end"
    for _ in range(DEPTH_MAX + 5):
        deep = [deep]
    began = time.process_time()
    line = scrubbed(
        event="a" * 1_000_000, mail="a." * 500_000, at="@" * 500_000, path="a-" * 500_000, deep=deep
    )
    assert time.process_time() - began < 2
    assert len(line["event"]) < TEXT_CHARACTERS_MAX + 10
    assert "end" not in repr(line["deep"])
