"""Which header shows that another service calls."""

import hmac

import pytest

from web.auth import ServiceKeys


def test_each_of_several_keys_is_accepted_while_one_replaces_the_other() -> None:
    keys = ServiceKeys(("old-key", "new-key"))
    assert keys.accepts("old-key")
    assert keys.accepts("new-key")
    assert not ServiceKeys(("new-key",)).accepts("old-key")


@pytest.mark.parametrize(
    "given",
    [None, "", " ", "ke", "keyy", "KEY", " key", "key ", "key\0", "key,other", "\udcff", "ключ"],
)
def test_anything_else_is_refused_and_nothing_raises(given: str | None) -> None:
    assert not ServiceKeys(("key", "other")).accepts(given)


def test_without_keys_nobody_is_accepted() -> None:
    assert not ServiceKeys(()).accepts("")
    assert not ServiceKeys(()).accepts("key")


def test_half_a_surrogate_pair_does_not_raise() -> None:
    assert not ServiceKeys(("key",)).accepts("\ud800")


def test_an_empty_key_accepts_nobody() -> None:
    assert not ServiceKeys(("",)).accepts("")


@pytest.mark.parametrize("key", ["schlüssel", "\udcff\udcfe"])
def test_a_key_outside_ascii_is_accepted_as_the_header_brings_it(key: str) -> None:
    assert ServiceKeys((key,)).accepts(key)


def test_keys_that_are_not_utf8_are_told_apart() -> None:
    assert not ServiceKeys(("\udcff",)).accepts("\udcfe")
    assert not ServiceKeys(("\udcff",)).accepts("?")


@pytest.mark.parametrize("given", ["first", "last", "neither", "x" * 8000])
def test_every_key_is_compared_in_constant_time_whatever_is_given(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ServiceKeys(("first", "middle", "last"))
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    keys.accepts(given)
    assert compared == [(32, 32)] * 3


def test_the_keys_are_not_kept_in_the_clear() -> None:
    assert "s3cret-key" not in repr(vars(ServiceKeys(("s3cret-key",))))
