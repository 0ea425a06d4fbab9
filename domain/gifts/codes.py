"""Codes, addresses and names: what they are made of, and how what a person types becomes one."""

from __future__ import annotations

import secrets
from typing import Final

ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Capital letters and digits without I, O, 0 and 1, which people mix up (contract, section 3)."""

CODE_CHARACTERS: Final = 10
"""32 ** 10 is 50 bits: with a million codes outstanding, a guesser within the throttle of one address
(200 unknown codes an hour) meets one in some six centuries."""

TYPED_CHARACTERS_MAX: Final = 32
"""Nothing longer is a code, of ours or of the old service."""


def new_code() -> str:
    """A code from the system's cryptographic source."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARACTERS))


def normal_code(typed: str) -> str:
    """The code as it is stored: look-up ignores case and spaces around it."""
    return typed.strip().upper()


def normal_address(address: str) -> str:
    """An e-mail address as it is compared: without case and spaces around it.

    No other letters are made equal.  `casefold` would make one mailbox of straße.de and strasse.de, and
    `lower` one of the Kelvin sign and a `k`: whoever registers the one would get the other's gifts.
    """
    return "".join(_lower(character) for character in address.strip())


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if character.isascii() or not lower.isascii() else character


def public_name(text: str | None) -> str | None:
    """What may be shown of a name or an address: of an address the part before `@` at most."""
    name = (text or "").partition("@")[0].strip()
    return name or None
