"""What the page shows of the OpenAPI document: sections, operations, tables of fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os.path import commonpath
from typing import Any, Final

from web.openapi import JsonObject
from web.reference.curl import curl_of

METHODS: Final = ("get", "post", "put", "patch", "delete")

DEPTH_MAX: Final = 3
"""How deep tables of fields follow objects in objects."""

ERROR_SCHEMAS: Final = frozenset({"ErrorAnswer", "PlainErrorAnswer"})

BOUNDS: Final[tuple[tuple[str, str], ...]] = (
    ("exclusiveMinimum", "above {}"),
    ("minimum", "{} or more"),
    ("maximum", "at most {}"),
    ("minItems", "{} items or more"),
    ("maxItems", "at most {} items"),
)


@dataclass(frozen=True)
class Row:
    """A field or a parameter."""

    name: str
    type: str
    bounds: str
    is_required: bool
    meaning: str
    default: str


@dataclass(frozen=True)
class Answer:
    """A success."""

    status: str
    description: str
    media_type: str
    rows: list[Row]
    examples: list[tuple[str, Any]]


@dataclass(frozen=True)
class Error:
    """An error that the operation may answer with."""

    status: str
    code: str
    message: str
    when: str


@dataclass(frozen=True)
class Endpoint:
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    access: str
    parameters: list[Row]
    body: list[Row]
    answers: list[Answer]
    errors: list[Error]
    curl: str
    needs_own_id: bool
    """Whether the example names a row that the reader has to make first."""

    @property
    def statuses(self) -> list[str]:
        """The errors' statuses, each once."""
        return list(dict.fromkeys(error.status for error in self.errors))


@dataclass(frozen=True)
class Section:
    """A room: its operations."""

    id: str
    title: str
    description: str
    endpoints: list[Endpoint]

    @property
    def prefix(self) -> str:
        """What all paths of the room begin with, whole parts only."""
        above = [endpoint.path.rpartition("/")[0] or "/" for endpoint in self.endpoints]
        return commonpath(above).rstrip("/")


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    version: str
    base_url: str
    paragraphs: list[str]
    sections: list[Section]


def page_of(document: JsonObject) -> Page:
    """The page of a document."""
    view = _View(document)
    endpoints = [
        (operation["tags"][0], view.endpoint(method.upper(), path, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]
    return Page(
        title=document["info"]["title"],
        version=document["info"]["version"],
        base_url=view.base_url,
        paragraphs=document["info"]["description"].split("\n\n"),
        sections=[
            Section(
                id=tag["name"].lower(),
                title=tag["name"],
                description=tag["description"],
                endpoints=[endpoint for name, endpoint in endpoints if name == tag["name"]],
            )
            for tag in document["tags"]
        ],
    )


class _View:
    def __init__(self, document: JsonObject) -> None:
        self._document = document
        self.base_url: str = document["servers"][0]["url"]

    def endpoint(self, method: str, path: str, operation: JsonObject) -> Endpoint:
        body = operation.get("requestBody")
        responses = {status: self._resolved(part) for status, part in operation["responses"].items()}
        return Endpoint(
            id=operation["operationId"],
            method=method,
            path=path,
            summary=operation["summary"],
            description=operation["description"],
            access=_access(operation["security"]),
            parameters=[self._parameter(parameter) for parameter in operation["parameters"]],
            body=[] if body is None else list(self._rows(body["content"]["application/json"]["schema"])),
            answers=[self._answer(*item) for item in responses.items() if not _is_error(item[1])],
            errors=[
                error
                for status, part in responses.items()
                if _is_error(part)
                for error in _errors(status, part)
            ],
            curl=curl_of(method, path, operation, self.base_url),
            needs_own_id=self._names_a_row(operation),
        )

    def _resolved(self, part: JsonObject) -> JsonObject:
        if "$ref" not in part:
            return part
        found: Any = self._document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        # What stands beside a reference says more than what it refers to.
        return {**found, **{name: value for name, value in part.items() if name != "$ref"}}

    def _parameter(self, parameter: JsonObject) -> Row:
        row = self._row(parameter["name"], {**parameter["schema"], "description": parameter["description"]})
        return Row(
            name=row.name,
            type=f"{parameter['in']}: {row.type}",
            bounds=row.bounds,
            is_required=parameter["required"],
            meaning=row.meaning,
            default="",
        )

    def _answer(self, status: str, response: JsonObject) -> Answer:
        # Of a file in several forms, the first: the one that comes unless another is asked for.
        media_type, media = next(iter(response["content"].items()))
        examples = [
            (example.get("summary", ""), example["value"]) for example in media.get("examples", {}).values()
        ]
        return Answer(
            status=status,
            description=response["description"],
            media_type=media_type,
            rows=list(self._rows(media["schema"])),
            examples=examples,
        )

    def _rows(self, schema: JsonObject, prefix: str = "", depth: int = DEPTH_MAX) -> Iterable[Row]:
        """A row for each field; those of objects inside follow, with the path to them in their names."""
        target = self._resolved(self._without_null(schema)[0])
        if target.get("type") == "array":
            yield from self._rows(target["items"], f"{prefix.removesuffix('.')}[].", depth)
            return
        for name, part in target.get("properties", {}).items():
            yield self._row(prefix + name, part, is_required=name in target.get("required", ()))
            if depth > 1:
                yield from self._rows(part, f"{prefix}{name}.", depth - 1)

    def _row(self, name: str, schema: JsonObject, *, is_required: bool = False) -> Row:
        bare, is_nullable = self._without_null(schema)
        target = self._resolved(bare)
        default = schema.get("default")
        return Row(
            name=name,
            type=self._type(target) + (" or null" if is_nullable else ""),
            bounds=_bounds(target),
            is_required=is_required,
            meaning=schema.get("description") or target.get("description", ""),
            default="" if default is None else str(default),
        )

    def _without_null(self, schema: JsonObject) -> tuple[JsonObject, bool]:
        choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
        if len(choices) != 1:
            return schema, False
        return choices[0], True

    def _type(self, schema: JsonObject) -> str:
        if "enum" in schema:
            return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
        if schema.get("type") == "array":
            return f"array of {self._type(self._resolved(schema['items']))}"
        formats = {"uuid": "UUID", "date-time": "UTC time"}
        return formats.get(schema.get("format", ""), str(schema.get("type", "any")))

    def _names_a_row(self, operation: JsonObject) -> bool:
        schemas = [part["schema"] for part in operation["parameters"] if part["in"] == "path"]
        if "requestBody" in operation:
            body = self._resolved(operation["requestBody"]["content"]["application/json"]["schema"])
            required = body.get("required", ())
            schemas += [part for name, part in body.get("properties", {}).items() if name in required]
        return any(schema.get("format") == "uuid" for schema in schemas)


def _access(security: list[Mapping[str, list[str]]]) -> str:
    if not security:
        return "open to all"
    [(name, roles)] = security[0].items()
    if name == "service":
        return "other services, by X-Service-Key"
    return "administrators, by bearer token" if "admin" in roles else "a signed-in person, by bearer token"


def _is_error(response: JsonObject) -> bool:
    schema = response["content"].get("application/json", {}).get("schema", {})
    refs = [part.get("$ref", "") for part in schema.get("anyOf", [schema])]
    return any(ref.rpartition("/")[2] in ERROR_SCHEMAS for ref in refs)


def _errors(status: str, response: JsonObject) -> Iterable[Error]:
    for example in response["content"]["application/json"]["examples"].values():
        value = example["value"]
        when = example.get("summary", response["description"])
        message = value.get("message") or value["error"]
        yield Error(status=status, code=value.get("code", ""), message=message, when=when)


def _bounds(schema: JsonObject) -> str:
    said = [form.format(_number(schema[name])) for name, form in BOUNDS if name in schema]
    low, high = schema.get("minLength"), schema.get("maxLength")
    if high is not None:
        said.append(f"{low} to {high} characters" if low else f"at most {high} characters")
    return ", ".join(said)


def _number(value: float) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
