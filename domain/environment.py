"""Reading variables, from the environment or from the files that it names, and naming what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from domain.logins import Login, MalformedLogins, parse_logins

FILE: Final = "_FILE"
"""`NAME_FILE` names a file that holds what `NAME` would."""

MAY_BE_FILES: Final = (
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "REDIS_URL",
    "MANA_SERVICE_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "OPS_USERS",
    "LOG_USER_IDS_KEY",
)
"""What is secret: orchestrators hand it over in files, which no list of processes and no crash report shows."""

FILE_BYTES_MAX: Final = 64 * 1024
"""The longest file that is read: five hundred operators' logins, and far more than any other secret."""

REDIS_SCHEMES: Final = ("redis", "rediss")


class Reader:
    """Takes variables from a mapping and collects what is wrong with them; it never repeats a value."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._values = {name: value.strip() for name, value in environ.items()}
        for name in MAY_BE_FILES:
            if path := self._values.get(name + FILE):
                self._values[name] = self._from_file(name, path)

    def _from_file(self, name: str, path: str) -> str:
        if self._values.get(name):
            self.problems.append(f"{name} and {name}{FILE} are both set; set one of them")
            return self._values[name]
        try:
            with Path(path).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            self.problems.append(f"{name}{FILE} names a file that cannot be read ({type(error).__name__})")
            return ""
        if len(content) > FILE_BYTES_MAX:
            self.problems.append(f"{name}{FILE} names a file of more than {FILE_BYTES_MAX} bytes")
            return ""
        try:
            return content.decode("utf-8").strip()
        except UnicodeDecodeError:
            self.problems.append(f"{name}{FILE} names a file that is no UTF-8 text")
            return ""

    def text(self, name: str, default: str) -> str:
        """The value, or the default where it is unset or empty."""
        return self._values.get(name) or default

    def optional(self, name: str) -> str | None:
        """The value, or None."""
        return self._values.get(name) or None

    def listed(self, name: str, default: str) -> tuple[str, ...]:
        """The parts between commas."""
        return tuple(part.strip() for part in self.text(name, default).split(",") if part.strip())

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        raw = self.text(name, str(default))
        if not raw.isascii() or not raw.isdigit() or len(raw) > 9 or not low <= int(raw) <= high:
            self.problems.append(f"{name} must be a whole number from {low} to {high}")
            return default
        return int(raw)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of a few words."""
        value = self.text(name, default)
        if value not in allowed:
            self.problems.append(f"{name} must be one of {', '.join(allowed)}")
            return default
        return value

    def flag(self, name: str, default: str) -> bool:
        """`on` or `off`."""
        return self.choice(name, default, ("on", "off")) == "on"

    def logins(self, name: str) -> tuple[Login, ...]:
        """Operators who may sign in."""
        try:
            return parse_logins(self.text(name, ""))
        except MalformedLogins as error:
            self.problems.append(f"{name} {error}")
            return ()

    def address(self, name: str, default: str) -> str:
        """The http address of a service, without a slash at its end."""
        value = self.text(name, default).rstrip("/")
        if not _is_address(value, ("http", "https")):
            self.problems.append(f"{name} must be an address such as https://host or http://host:port")
        return value

    def optional_address(self, name: str) -> str | None:
        """The same, or None."""
        return self.address(name, "") if self.optional(name) else None

    def redis(self, name: str, default: str) -> str:
        """The URL of a Redis."""
        value = self.text(name, default)
        path = urlsplit(value).path.strip("/") if _is_address(value, REDIS_SCHEMES) else "none"
        if path and not (path.isascii() and path.isdigit()):
            self.problems.append(f"{name} must be a URL such as redis://:password@host:6379/0")
        return value

    def postgres(self, name: str, default: str) -> str:
        """The URL of a PostgreSQL database, as both of those who connect understand it."""
        value = self.text(name, default)
        if not _is_postgres(value):
            self.problems.append(
                f"{name} must be a URL such as postgresql://user:password@host:5432/database"
            )
        return value


def _is_address(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    is_plain = value.isprintable() and " " not in value and not parts.query and not parts.fragment
    return parts.scheme in schemes and bool(parts.hostname) and port != 0 and is_plain


def _is_postgres(value: str) -> bool:
    try:
        parts = make_url(value)
        conninfo_to_dict(value)
    except (ArgumentError, ValueError, psycopg.Error):
        return False
    return parts.drivername in ("postgresql", "postgres") and bool(parts.database)
