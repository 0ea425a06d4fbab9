"""OPS_USERS, and the sessions of those who signed in."""

from __future__ import annotations

import functools
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from domain.database import transaction
from domain.logins import MalformedLogins, Role, hash_password, login_of, parse_logins
from domain.operators import sessions
from domain.settings import SettingsError, read_settings
from tests.support.ledger import NOW, scalar
from tests.support.world import OPERATOR

PASSWORD = "correct horse battery"


@functools.cache
def hashed() -> str:
    """A hash of it, which takes a while on purpose."""
    return hash_password(PASSWORD)


@pytest.mark.parametrize("separator", [",", "\n", ", ", ",\n", "\n\n"])
def test_logins_are_separated_by_commas_or_lines_although_hashes_have_commas(separator: str) -> None:
    assert "," in hashed()
    logins = parse_logins(separator.join([f"otto:operator:{hashed()}", f"vera:viewer:{hashed()}"]))
    assert [(one.name, one.role, one.password_hash) for one in logins] == [
        ("otto", Role.OPERATOR, hashed()),
        ("vera", Role.VIEWER, hashed()),
    ]


@pytest.mark.parametrize(
    "listed",
    [
        "otto",
        "otto:operator",
        "otto:operator:plain text",
        "otto:root:<hash>",
        ":operator:<hash>",
        "ot to:operator:<hash>",
        "otto:operator:<hash>,otto:viewer:<hash>",
        "otto:operator:<hash>,vera::<hash>",
    ],
)
def test_malformed_logins_are_refused_at_the_start_and_no_hash_is_said(listed: str) -> None:
    listed = listed.replace("<hash>", hashed())  # another one in each process of the tests
    with pytest.raises(MalformedLogins):
        parse_logins(listed)
    with pytest.raises(SettingsError) as refused:
        read_settings({"ENV": "development", "OPS_USERS": listed})
    assert "OPS_USERS" in str(refused.value)
    assert hashed() not in str(refused.value)


def test_nobody_is_listed_unless_said() -> None:
    assert read_settings({"ENV": "development"}).ops_users == ()
    assert hashed() not in repr(
        read_settings({"ENV": "development", "OPS_USERS": f"otto:operator:{hashed()}"})
    )


def test_the_right_password_signs_in_and_no_other() -> None:
    logins = parse_logins(f"otto:operator:{hashed()}")
    assert hashed().startswith("$argon2id$")
    assert login_of(logins, "otto", PASSWORD) == logins[0]
    for name, password in (("otto", PASSWORD + "x"), ("otto", ""), ("nobody", PASSWORD), ("", "")):
        assert login_of(logins, name, password) is None
    assert login_of((), "nobody", "nobody's password") is None


@pytest.mark.parametrize("password", ["short", "x" * 1001])
def test_a_password_has_bounds(password: str) -> None:
    with pytest.raises(ValueError, match="12"):
        hash_password(password)


def test_a_session_is_known_by_its_token_alone_and_the_token_is_not_kept(engine: Engine) -> None:
    with transaction(engine) as connection:
        token = sessions.open_session(connection, OPERATOR, now=NOW)
        found = sessions.session_of(connection, token, now=NOW)
        assert found is not None
        assert found.operator == OPERATOR
        for forged in ("", token[:-1], token + "x", sessions.digest(token)):
            assert sessions.session_of(connection, forged, now=NOW) is None
    assert (
        scalar(engine, "SELECT count(*) FROM ops.operator_sessions s WHERE s::text LIKE :t", t=f"%{token}%")
        == 0
    )


def test_a_session_ends_when_idle_when_its_time_is_over_and_when_signed_out(engine: Engine) -> None:
    with transaction(engine) as connection:
        token = sessions.open_session(connection, OPERATOR, now=NOW)
        assert sessions.session_of(connection, token, now=NOW + sessions.IDLE_MAX) is None
        at = NOW
        while at < NOW + sessions.LIFETIME - sessions.IDLE_MAX:
            at += timedelta(minutes=29)
            assert sessions.session_of(connection, token, now=at) is not None
        assert sessions.session_of(connection, token, now=NOW + sessions.LIFETIME) is None
        other = sessions.open_session(connection, OPERATOR, now=NOW)
        sessions.close_session(connection, other)
        assert sessions.session_of(connection, other, now=NOW) is None


def test_sessions_that_are_over_go_when_somebody_signs_in(engine: Engine) -> None:
    with transaction(engine) as connection:
        sessions.open_session(connection, OPERATOR, now=NOW)
        sessions.open_session(connection, OPERATOR, now=NOW + sessions.LIFETIME)
    assert scalar(engine, "SELECT count(*) FROM ops.operator_sessions") == 1


def test_the_word_of_a_form_belongs_to_one_session() -> None:
    assert sessions.is_csrf_token("a", sessions.csrf_token("a"))
    for wrong in ("", "x", "ä", sessions.csrf_token("b"), sessions.csrf_token("a")[:-1]):
        assert not sessions.is_csrf_token("a", wrong)
