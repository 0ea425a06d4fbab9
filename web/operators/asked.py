"""What a page was asked: its query and its form, each bounded.  Raises BadRequest, as routes do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from domain.amounts import NotAnAmount, parse_amount
from web.bodies import UNFIT, bad_field

TEXT_CHARACTERS_MAX: Final = 500
OFFSET_MAX: Final = 100_000

E = TypeVar("E", bound=StrEnum)


class Asked:
    """Named texts; one that is absent or empty is None."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        """A text, without what no database holds."""
        value = self._given.get(name)
        if not isinstance(value, str):
            return None
        return UNFIT.sub("", value)[:TEXT_CHARACTERS_MAX].strip() or None

    def as_typed(self, name: str) -> str:
        """A text, whole: a password may begin with a space, a token is long."""
        value = self._given.get(name, "")
        return value if isinstance(value, str) else ""

    def needed(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise bad_field(name, "is missing")
        return value

    def choice(self, name: str, kind: type[E]) -> E | None:
        """One of an enumeration."""
        value = self.text(name)
        if value is None:
            return None
        try:
            return kind(value)
        except ValueError:
            raise bad_field(name, f"must be one of {', '.join(kind)}") from None

    def uuid(self, name: str) -> UUID | None:
        """An id."""
        value = self.text(name)
        if value is None:
            return None
        try:
            return UUID(value)
        except ValueError:
            raise bad_field(name, "must be a UUID") from None

    def needed_uuid(self, name: str) -> UUID:
        """An id that must be there."""
        value = self.uuid(name)
        if value is None:
            raise bad_field(name, "is missing")
        return value

    def instant(self, name: str) -> datetime | None:
        """A time in UTC, as a browser's field for times gives it, or a day, which then begins."""
        value = self.text(name)
        if value is None:
            return None
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            raise bad_field(name, "must be a time such as 2026-11-22T15:28") from None
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read

    def offset(self) -> int:
        """How many rows of a list were on the pages before."""
        value = self.text("offset") or "0"
        if not (value.isascii() and value.isdigit()) or int(value[:9]) > OFFSET_MAX:
            raise bad_field("offset", f"must be a whole number up to {OFFSET_MAX}")
        return int(value)

    def amount(self, name: str) -> Decimal:
        """Credits above zero with at most three decimals."""
        try:
            return parse_amount(Decimal(self.needed(name)), whole=False)
        except InvalidOperation:
            raise bad_field(name, "must be a number") from None
        except NotAnAmount as error:
            raise bad_field(name, str(error)) from None

    def is_ticked(self, name: str) -> bool:
        """A box."""
        return self.text(name) is not None

    def query_with(self, **changed: object) -> str:
        """The same questions with some others, as a query; None leaves one out."""
        given = {name: self.text(name) for name in self._given}
        named = {name: value for name, value in given.items() if value is not None}
        named.update({name: str(value) for name, value in changed.items() if value is not None})
        for name, value in changed.items():
            if value is None:
                named.pop(name, None)
        return "?" + urlencode(named)
