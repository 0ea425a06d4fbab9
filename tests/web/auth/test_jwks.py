"""Which keys of a JWKS are taken."""

import json
from typing import Any

import pytest

from simulators.auth import SigningKey
from web.auth.jwks import UnusableDocument, read_jwks

GOOD = {**SigningKey.generate().public_jwk(), "kid": "good"}


def names(*jwks: Any) -> list[str]:
    """Return the names of the keys taken from a document with these and a good one."""
    return list(read_jwks(json.dumps({"keys": [*jwks, GOOD]}).encode()))


def other(**changes: Any) -> dict[str, Any]:
    return {**SigningKey.generate().public_jwk(), "kid": "other", **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in other().items() if key != name}


def test_a_public_key_is_taken_as_it_is() -> None:
    key = SigningKey.generate()
    taken = read_jwks(json.dumps({"keys": [key.public_jwk()]}).encode())
    assert taken == {key.kid: key.private.public_key()}


@pytest.mark.parametrize("name", ["use", "alg"])
def test_use_and_algorithm_may_be_left_out(name: str) -> None:
    assert names(without(name)) == ["other", "good"]


@pytest.mark.parametrize("name", ["kty", "crv", "kid", "x"])
def test_a_key_that_lacks_a_part_is_passed_over(name: str) -> None:
    assert names(without(name)) == ["good"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "RSA"},
        {"kty": "oct"},
        {"crv": "Ed448"},
        {"crv": "X25519"},
        {"use": "enc"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
    ],
    ids=str,
)
def test_a_key_for_something_else_is_passed_over(changes: dict[str, Any]) -> None:
    assert names(other(**changes)) == ["good"]


def test_a_key_for_verifying_is_taken() -> None:
    assert names(other(key_ops=["verify"])) == ["other", "good"]


@pytest.mark.parametrize("kid", ["", "k" * 129, 1, None, ["other"]])
def test_a_key_whose_name_cannot_be_one_is_passed_over(kid: Any) -> None:
    assert names(other(kid=kid)) == ["good"]


@pytest.mark.parametrize(
    "x", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "+", "A" * 42 + " ", 1, None]
)
def test_a_key_that_is_not_32_bytes_of_base64url_is_passed_over(x: Any) -> None:
    assert names(other(x=x)) == ["good"]


def test_a_key_shown_with_its_private_part_is_passed_over() -> None:
    assert names({**SigningKey.generate().private_jwk(), "kid": "other"}) == ["good"]


@pytest.mark.parametrize("junk", [None, 1, "key", [], [[]], {}, {"kty": {"kty": "OKP"}}])
def test_what_is_no_key_is_passed_over(junk: Any) -> None:
    assert names(junk) == ["good"]


def test_two_different_keys_of_one_name_are_both_passed_over() -> None:
    assert names(other(), other()) == ["good"]


def test_a_key_listed_twice_is_taken_once() -> None:
    twice = other()
    assert names(twice, twice) == ["other", "good"]


def test_an_unusable_key_does_not_take_the_name_of_a_usable_one() -> None:
    assert names(other(kid="good", crv="X25519")) == ["good"]


def test_a_key_nested_too_deeply_is_passed_over_or_ends_the_document() -> None:
    deep = "[" * 20_000 + "]" * 20_000
    with pytest.raises(UnusableDocument):
        read_jwks(f'{{"keys": [{{"kty": "OKP", "x5c": {deep}}}]}}'.encode())


def test_sixty_four_keys_are_taken_and_thousands_are_not() -> None:
    assert len(names(*(other(kid=str(n)) for n in range(63)))) == 64
    with pytest.raises(UnusableDocument, match="too many keys"):
        names(*({} for _ in range(5000)))


def test_a_document_over_the_limit_is_not_read() -> None:
    with pytest.raises(UnusableDocument, match="too large"):
        read_jwks(json.dumps({"keys": [GOOD]}).ljust(64 * 1024 + 1).encode())


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys": null}', b'{"keys": {}}', b"\xff\xfe", b"[" * 60_000]
)
def test_what_is_no_jwks_is_refused(body: bytes) -> None:
    with pytest.raises(UnusableDocument, match="not a JWKS"):
        read_jwks(body)


def test_a_document_without_a_usable_key_is_refused() -> None:
    with pytest.raises(UnusableDocument, match="no usable key"):
        read_jwks(json.dumps({"keys": [other(crv="X25519")]}).encode())
