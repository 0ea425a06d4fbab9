"""Operators' logins: names, roles and password hashes, as OPS_USERS lists them.

Passwords are hashed with argon2id.  A verification takes tens of milliseconds and 64 MiB on purpose: callers
keep it off an event loop, and few at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

PASSWORD_CHARACTERS_MIN: Final = 12
PASSWORD_CHARACTERS_MAX: Final = 1_000
"""argon2 reads all of it: nobody shall send megabytes."""

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

# A hash has commas of its own (m=65536,t=3,p=4): an entry begins where `name:role:` follows.
_BETWEEN: Final = re.compile(r"[,\n]\s*(?=[^,\n:$]+:[^,\n:$]*:|$)")


class Role(StrEnum):
    """A viewer sees; an operator acts too."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Login:
    """One operator who signs in with a password."""

    name: str
    role: Role
    password_hash: str = field(repr=False)


class MalformedLogins(ValueError):
    """OPS_USERS is not as it should be.  Says which entry, and never a hash."""


def parse_logins(listed: str) -> tuple[Login, ...]:
    """The logins of `name:role:hash` entries, separated by commas or new lines.  Raises MalformedLogins."""
    entries = [entry.strip() for entry in _BETWEEN.split(listed.strip())]
    logins = tuple(_login(position, entry) for position, entry in enumerate(entries, 1) if entry)
    names = [login.name for login in logins]
    if len(set(names)) < len(names):
        raise MalformedLogins("has a name twice")
    return logins


def _login(position: int, entry: str) -> Login:
    name, _, rest = entry.partition(":")
    role, _, password_hash = rest.partition(":")
    if NAME.fullmatch(name) is None:
        raise MalformedLogins(
            f"entry {position}: a name has 1 to 64 letters, digits, dots, dashes, underlines"
        )
    if role not in list(Role):
        raise MalformedLogins(f"entry {position}: a role is one of {', '.join(Role)}")
    try:
        extract_parameters(password_hash)
    except InvalidHashError:
        raise MalformedLogins(f"entry {position}: the hash is not one of argon2") from None
    return Login(name, Role(role), password_hash)


def hash_password(password: str) -> str:
    """The hash for OPS_USERS.  Raises ValueError for a password that is too short or too long."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise ValueError(
            f"a password has from {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters"
        )
    return PasswordHasher().hash(password)


def login_of(logins: Sequence[Login], name: str, password: str) -> Login | None:
    """The login with this name and password; None when there is none.  As slow for a name that is unknown."""
    found = next((login for login in logins if login.name == name), None)
    password_hash = _hash_of_nobody(*logins[:1]) if found is None else found.password_hash
    try:
        PasswordHasher().verify(password_hash, password[:PASSWORD_CHARACTERS_MAX])
    except (Argon2Error, InvalidHashError):
        return None
    return found


@cache
def _hash_of_nobody(like: Login | None = None) -> str:
    """So that the time of an answer does not tell which names there are: as costly to verify as somebody's."""
    hasher = PasswordHasher()
    if like is not None:
        hasher = PasswordHasher.from_parameters(extract_parameters(like.password_hash))
    return hasher.hash("nobody's password")
