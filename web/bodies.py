"""What callers send: bodies, path and query parts, each bounded and checked here, at the edge.

A body that fits is decoded in one pass.  One that does not is looked at again field by field, so that the
answer names every bad field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Meta

from domain.amounts import AMOUNT_MAX, DECIMALS_MAX, NotAnAmount, parse_amount
from domain.gifts import TOTAL_CREDITS_MAX

BODY_BYTES_MAX: Final = 64 * 1024
"""The largest body of an ordinary request: four times the largest metadata, and room for the rest."""

BATCH_BODY_BYTES_MAX: Final = 1024 * 1024
"""The largest body of a batch of 500 uses."""

METADATA_BYTES_MAX: Final = 16 * 1024
"""The largest `metadata`, as JSON: it is stored with every entry for ever."""

METADATA_DEPTH_MAX: Final = 32
"""How deep `metadata` may nest; PostgreSQL and other readers of it take their stack from this."""

NUMBER_EXPONENT_MAX: Final = 300
"""Numbers in `metadata` stay below 1e300: beyond it other readers of the JSON see infinity."""

FAULTS_TOLD_MAX: Final = 50
"""How many bad fields an answer names: a batch may have thousands."""

PATH_CHARACTERS_MAX: Final = 255
"""The longest part of a path: a user id."""

WHOLE_DIGITS_MAX: Final = 15
"""Digits of a whole number: no field takes more, and nobody shall make us write out `1e999999`."""

NUL: Final = "\x00"
UNFIT: Final = re.compile("[\x00\ud800-\udfff]")

END: Final = r"(?![\s\S])"
"""The end of a text, for patterns: `$` alone would let a line's end pass."""

Body = TypeVar("Body")


class BadRequest(Exception):
    """The request is malformed.  `details` names each bad field and what is wrong with it."""

    def __init__(self, details: list[dict[str, str]]) -> None:
        super().__init__("Invalid request")
        self.details = details


class UnreadableBody(BadRequest):
    """The body cannot be unpacked, so that where the next request begins is not known either."""


def bad_field(field: str, message: str) -> BadRequest:
    """A BadRequest about one field."""
    return BadRequest([{"field": field, "message": message}])


class Credits(Decimal):
    """An amount above zero with at most three decimals, in credits."""


class WholeCredits(Decimal):
    """A whole amount above zero, in credits."""


class GiftCredits(Decimal):
    """A whole amount from 1 to TOTAL_CREDITS_MAX, in credits."""


class MetadataObject(dict[str, Any]):
    """A JSON object of the caller's own."""


UserId = Annotated[
    str, Meta(min_length=1, max_length=255, description="Opaque id of a person", examples=["demo"])
]
AppId = Annotated[str, Meta(min_length=1, max_length=128, description="The calling app", examples=["chat"])]
Description = Annotated[str, Meta(min_length=1, max_length=2000, examples=["AI message"])]
IDEMPOTENCY_KEY_PATTERN: Final = rf"^[^\x00-\x1f\x7f-\x9f]*{END}"
"""No control characters: nobody's name for a request has any."""

IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=IDEMPOTENCY_KEY_PATTERN,
        description="Makes the request take effect once",
    ),
]


class UseBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Spend the caller's credits."""

    amount: Credits
    app_id: AppId
    description: Description
    idempotency_key: IdempotencyKey | None = None
    metadata: MetadataObject | None = None


class InternalUseBody(UseBody, kw_only=True, rename="camel"):
    """Spend a person's credits."""

    user_id: UserId


class UseBatchBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Spend credits of many, item by item, in the order given."""

    items: Annotated[list[InternalUseBody], Meta(min_length=1, max_length=500)]


class RefundBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Give credits back for an operation that failed."""

    user_id: UserId
    amount: Credits
    description: Description
    app_id: AppId | None = None
    metadata: MetadataObject | None = None
    idempotency_key: IdempotencyKey | None = None


class GrantBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Give a reward, once for a person and a reference."""

    user_id: UserId
    amount: WholeCredits
    reason: Annotated[str, Meta(min_length=1, max_length=64, examples=["bug-report"])]
    reference_id: Annotated[str, Meta(min_length=1, max_length=128, examples=["issue-42"])]
    description: Annotated[str, Meta(max_length=256)] | None = None
    idempotency_key: IdempotencyKey | None = None


class InitBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Open a person's balance."""

    user_id: UserId


class ReserveBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Set credits aside."""

    user_id: UserId
    amount: WholeCredits
    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="What for; the part before the first `:` names the app",
            examples=["research:run-7"],
        ),
    ]
    expires_in_seconds: Annotated[int, Meta(ge=1, le=30 * 24 * 3600)] | None = None
    idempotency_key: IdempotencyKey | None = None


class CommitBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Spend what was set aside."""

    reservation_id: UUID
    description: Annotated[str, Meta(max_length=500)] | None = None
    idempotency_key: IdempotencyKey | None = None


class RefundReservationBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Put back what was set aside."""

    reservation_id: UUID
    idempotency_key: IdempotencyKey | None = None


def parse(raw: bytes, kind: type[Body]) -> Body:
    """The body as `kind`; an empty body counts as `{}`.  Raises BadRequest naming every bad field."""
    try:
        hashable: Any = kind
        body: Body = _decoder(hashable).decode(raw or b"{}")
    except (msgspec.DecodeError, RecursionError, ArithmeticError, UnicodeDecodeError):
        return _parse_slowly(raw, kind)
    if b"\\u0000" in raw and _has_unfit_text(msgspec.to_builtins(body, enc_hook=str, str_keys=True)):
        return _parse_slowly(raw, kind)
    return body


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_decode_own_type, float_hook=Decimal)


def _decode_own_type(kind: type, value: Any) -> Any:
    if kind is Credits:
        return Credits(_plain(parse_amount(value, whole=False)))
    if kind is WholeCredits:
        return WholeCredits(_plain(parse_amount(value, whole=True)))
    if kind is GiftCredits:
        return GiftCredits(_plain(parse_amount(value, whole=True, most=TOTAL_CREDITS_MAX)))
    if kind is MetadataObject:
        return _metadata(value)
    raise NotImplementedError(kind)


def _plain(amount: Decimal) -> str:
    # `1e1` and `10.0` are `10`: one spelling for answers, and for comparing a request with its repeat.
    return f"{amount.normalize():f}"


def schema_of_own_type(kind: type) -> dict[str, Any]:
    """JSON Schema of the types above, for the OpenAPI description."""
    if kind is Credits:
        finest = 10.0**-DECIMALS_MAX
        bounds = {"exclusiveMinimum": 0, "maximum": int(AMOUNT_MAX), "multipleOf": finest}
        return {"type": "number", **bounds, "examples": [5, 0.1]}
    if kind is WholeCredits:
        return {"type": "integer", "minimum": 1, "maximum": int(AMOUNT_MAX), "examples": [30]}
    if kind is GiftCredits:
        return {"type": "integer", "minimum": 1, "maximum": TOTAL_CREDITS_MAX, "examples": [100]}
    if kind is MetadataObject:
        return {"type": "object", "additionalProperties": True, "examples": [{"model": "small"}]}
    raise NotImplementedError(kind)


def _metadata(value: Any) -> MetadataObject:
    if not isinstance(value, dict):
        raise NotAnAmount("must be an object")
    _check_json(value, METADATA_DEPTH_MAX)
    if len(msgspec.json.encode(value)) > METADATA_BYTES_MAX:
        raise ValueError(f"must be at most {METADATA_BYTES_MAX} bytes of JSON")
    return MetadataObject(value)


def _check_json(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"must nest at most {METADATA_DEPTH_MAX} deep")
    match value:
        case dict():
            for part in value.values():
                _check_json(part, depth - 1)
        case list():
            for part in value:
                _check_json(part, depth - 1)
        case Decimal() if abs(value.adjusted()) > NUMBER_EXPONENT_MAX:
            raise ValueError("must not contain a number beyond 1e300")
        case _:
            pass


def _has_unfit_text(value: Any) -> bool:
    """Whether there is text in it that PostgreSQL or UTF-8 cannot hold."""
    match value:
        case str():
            return UNFIT.search(value) is not None
        case dict():
            return any(_has_unfit_text(name) or _has_unfit_text(part) for name, part in value.items())
        case list():
            return any(_has_unfit_text(part) for part in value)
        case _:
            return False


def _parse_slowly(raw: bytes, kind: type[Body]) -> Body:
    """The body, looked at field by field.  Raises BadRequest.

    A body without a fault gets here for a whole number that is written with a fraction, as in `5.0`, which to JSON is
    the same, and for what is wrong in a field that nobody asks for.
    """
    try:
        given = json.loads(
            raw.decode() or "{}", parse_int=_number, parse_float=_number, parse_constant=_no_json
        )
    except (ValueError, RecursionError):
        raise bad_field("body", "must be well-formed JSON") from None
    if not isinstance(given, dict):
        raise bad_field("body", "must be a JSON object")
    details = list(islice(_faults(given, kind, ""), FAULTS_TOLD_MAX))
    if details:
        raise BadRequest(details)
    try:
        return msgspec.convert(given, kind, dec_hook=_decode_own_type, str_keys=True)
    except msgspec.ValidationError as error:
        raise bad_field("body", str(error)) from None


def _number(digits: str) -> int | Decimal:
    if len(digits) <= NUMBER_EXPONENT_MAX and digits.removeprefix("-").isdigit():
        return int(digits)
    try:
        number = Decimal(digits)
    except ArithmeticError:
        return Decimal("-1e999999" if digits.startswith("-") else "1e999999")  # too large for any field
    is_whole = number.adjusted() < WHOLE_DIGITS_MAX and number == number.to_integral_value()
    return int(number) if is_whole else number


def _no_json(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _faults(given: dict[str, Any], kind: type, place: str) -> Iterator[dict[str, str]]:
    for field in msgspec.structs.fields(kind):
        name = place + field.encode_name
        if field.encode_name in given:
            yield from _faults_of_value(given[field.encode_name], field.type, name)
        elif field.required:
            yield {"field": name, "message": "is required"}


def _faults_of_value(value: Any, kind: Any, name: str) -> Iterator[dict[str, str]]:
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.ListType(
            item_type=msgspec.inspect.StructType(cls=item_kind), min_length=low, max_length=high
        ) if isinstance(value, list) and (low or 0) <= len(value) <= (high or len(value)):
            for position, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _faults(item, item_kind, f"{name}[{position}].")
                else:
                    yield {"field": f"{name}[{position}]", "message": "must be an object"}
        case _:
            yield from _fault_of_plain_value(value, kind, name)


def _fault_of_plain_value(value: Any, kind: Any, name: str) -> Iterator[dict[str, str]]:
    try:
        if _has_unfit_text(value):
            yield {"field": name, "message": "must not contain NUL or half of a surrogate pair"}
        else:
            msgspec.convert(value, kind, dec_hook=_decode_own_type, str_keys=True)
    except msgspec.ValidationError as error:
        message, _, inside = str(error).partition(" - at `$")
        yield {"field": name + inside.rstrip("`"), "message": message}
    except RecursionError:
        yield {"field": name, "message": f"must nest at most {METADATA_DEPTH_MAX} deep"}


def path_text(request: web.Request, name: str) -> str:
    """A part of the path, decoded: opaque text.  Raises BadRequest."""
    value = request.match_info[name]
    if not _is_percent_encoded(request.raw_path.partition("?")[0]):
        raise bad_field(name, "must be percent-encoded UTF-8")
    if not 1 <= len(value) <= PATH_CHARACTERS_MAX or NUL in value:
        raise bad_field(name, f"must be 1 to {PATH_CHARACTERS_MAX} characters, without NUL")
    return value


def _is_percent_encoded(path: str) -> bool:
    """Whether each `%` begins a byte and the bytes are UTF-8; aiohttp takes others as they are."""
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return re.search("%(?![0-9A-Fa-f]{2})", path) is None


def path_uuid(request: web.Request, name: str) -> UUID:
    """A part of the path that is a UUID.  Raises BadRequest."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise bad_field(name, "must be a UUID") from None


def idempotency_key(request: web.Request, in_body: str | None) -> str | None:
    """The caller's key: from the body, else from the header `Idempotency-Key`.  Raises BadRequest."""
    given = request.headers.getall("Idempotency-Key", ())
    if len(given) > 1:
        raise bad_field("idempotencyKey", "must be sent once")
    if given:
        _check_key(given[0])
    return in_body if in_body is not None or not given else given[0]


def _check_key(key: str) -> None:
    is_fit = re.match(IDEMPOTENCY_KEY_PATTERN, key) is not None and UNFIT.search(key) is None
    if not (is_fit and 1 <= len(key) <= 255):
        raise bad_field("idempotencyKey", "must be 1 to 255 characters, without control characters")
