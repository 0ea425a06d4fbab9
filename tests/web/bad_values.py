"""Bad values for every field of every body, as raw JSON: what no encoder would write is among them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.support.client import INTERNAL, USER

Kind = Literal["credits", "whole", "text", "uuid", "metadata", "seconds"]

MALFORMED = ("NaN", "Infinity", "-Infinity", "nul", "", "1.", "01", "+1", ".5", '"\\x41"', "'a'", '"a')
"""No JSON at all: the body as a whole is named."""

NO_NUMBERS = ('"5"', '""', "true", "false", "[]", "[5]", "{}", '{"$numberDecimal":"5"}')
BAD_AMOUNTS = (
    *("0", "-1", "-0", "-0.0", "0.0", "-0.1", "0.0001", "1.0005", "1e-4", "1e-400", "0.1234567890123456789"),
    *("1000000001", "1e10", "1e400", "-1e400", "1e99999999999999999999", "123456789012345678901234567890"),
    "9" * 5000,
)
NO_TEXTS = ("5", "0.1", "true", "[]", "{}", '["a"]', '{"a":"b"}')
BAD_TEXTS = ('"a\\u0000b"', '"\\u0000"', '"\\ud800"', '"a\\udc00b"')
NESTED = tuple('{"a":' * depth + "1" + "}" * depth for depth in (33, 400, 900))

BAD: dict[Kind, tuple[str, ...]] = {
    "credits": (*NO_NUMBERS, *BAD_AMOUNTS),
    "whole": (*NO_NUMBERS, *BAD_AMOUNTS, "0.1", "1.5", "999999999.5", "15e-1"),
    "text": (*NO_TEXTS, *BAD_TEXTS),
    "uuid": (
        *NO_TEXTS,
        *BAD_TEXTS,
        *('""', '"x"', '"0198c0de"', '"zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz"'),
        '"01234567-89ab-7cde-8f01-23456789abcdef"',
    ),
    "metadata": (
        *("[]", "[{}]", '"{}"', '""', "5", "true"),
        *NESTED,
        *(
            '{"a":"\\u0000"}',
            '{"\\u0000":1}',
            '{"a":{"b":["\\u0000"]}}',
            '{"a":1e1000}',
            '{"a":[-1e999999]}',
            '{"a":"\\udfff"}',
        ),
        json.dumps({"a": "x" * 17_000}),
    ),
    "seconds": (
        '"60"',
        "true",
        "[]",
        "{}",
        "0",
        "-1",
        "1.5",
        '"\\ud800"',
        str(30 * 24 * 3600 + 1),
        "1e400",
        "9" * 40,
    ),
}


@dataclass(frozen=True)
class Field:
    """A field of a body: a good value, and what makes it bad."""

    name: str
    kind: Kind
    good: str
    longest: int = 0
    may_be_empty: bool = False
    is_optional: bool = False

    def bad_values(self) -> Iterator[str]:
        """Raw JSON that must be refused, naming this field."""
        yield from BAD[self.kind]
        if self.longest:
            yield json.dumps("x" * (self.longest + 1))
            yield json.dumps("ü" * (self.longest + 1), ensure_ascii=False)
        if self.kind == "text" and not self.may_be_empty:
            yield '""'
        if not self.is_optional:
            yield "null"


USER_ID = Field("userId", "text", '"anna"', longest=255)
KEY = Field("idempotencyKey", "text", '"k"', longest=255, is_optional=True)
CREDITS = Field("amount", "credits", "0.5")
WHOLE = Field("amount", "whole", "1")
METADATA = Field("metadata", "metadata", '{"a":1}', is_optional=True)
RESERVATION_ID = Field("reservationId", "uuid", '"01234567-89ab-7cde-8f01-23456789abcd"')
USE_FIELDS = (
    CREDITS,
    Field("appId", "text", '"chat"', longest=128),
    Field("description", "text", '"x"', longest=2000),
    KEY,
    METADATA,
)


@dataclass(frozen=True)
class Endpoint:
    """A POST and its fields."""

    path: str
    fields: tuple[Field, ...]
    wrapped: str = "{}"
    """Where the object of the fields stands in the body; `{}` is replaced."""
    named: str = field(default="", kw_only=True)
    """What stands before a field's name in `details`."""

    def __str__(self) -> str:
        return self.path.removeprefix("/api/v1/")

    def body(self, changed: Field | None = None, raw: str | None = None) -> bytes:
        """A good body, but for one field: with another value, or (`raw` is None) without it."""
        parts = []
        for each in self.fields:
            value = raw if each is changed else each.good
            if value is not None:
                parts.append(f'"{each.name}":{value}')
        return self.wrapped.replace("{}", "{" + ",".join(parts) + "}", 1).encode()


ENDPOINTS = (
    Endpoint(f"{USER}/use", USE_FIELDS),
    Endpoint(f"{INTERNAL}/use", (USER_ID, *USE_FIELDS)),
    Endpoint(f"{INTERNAL}/use/batch", (USER_ID, *USE_FIELDS), '{"items":[{}]}', named="items[0]."),
    Endpoint(
        f"{INTERNAL}/refund",
        (
            USER_ID,
            CREDITS,
            Field("description", "text", '"x"', longest=2000),
            Field("appId", "text", '"chat"', longest=128, is_optional=True),
            METADATA,
            KEY,
        ),
    ),
    Endpoint(
        f"{INTERNAL}/grant",
        (
            USER_ID,
            WHOLE,
            Field("reason", "text", '"r"', longest=64),
            Field("referenceId", "text", '"ref"', longest=128),
            Field("description", "text", '"x"', longest=256, may_be_empty=True, is_optional=True),
            KEY,
        ),
    ),
    Endpoint(f"{INTERNAL}/init", (USER_ID,)),
    Endpoint(
        f"{INTERNAL}/reserve",
        (
            USER_ID,
            WHOLE,
            Field("reason", "text", '"r"', longest=200),
            Field("expiresInSeconds", "seconds", "60", is_optional=True),
            KEY,
        ),
    ),
    Endpoint(
        f"{INTERNAL}/commit",
        (
            RESERVATION_ID,
            Field("description", "text", '"x"', longest=500, may_be_empty=True, is_optional=True),
            KEY,
        ),
    ),
    Endpoint(f"{INTERNAL}/refund-reservation", (RESERVATION_ID, KEY)),
)

BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"   ",
    "cut off": b'{"userId":"anna","amount":',
    "a comma too many": b'{"amount":1,}',
    "two documents": b"{}{}",
    "an array": b"[]",
    "a text": b'"x"',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "a form": b"userId=anna&amount=1",
    "not UTF-8": b'{"userId":"\xff\xfe","amount":1,"appId":"\xff","reservationId":"\xff"}',
    "a surrogate in UTF-8": b'{"userId":"\xed\xa0\x80","amount":1}',
    "UTF-16": '{"userId":"anna"}'.encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "a raw NUL": b'{"userId":"a\x00b"}',
    "arrays 30,000 deep": b"[" * 30_000 + b"]" * 30_000,
    "objects 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "an unknown field 10,000 deep": b'{"unknown":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
}
