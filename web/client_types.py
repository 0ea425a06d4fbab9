"""The TypeScript client's types and table of operations, made from the OpenAPI document.

`python -m web.client_types` writes them; with `--check` it says whether they are up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from web.app import operations
from web.openapi import make_document

PAGE: Final = Path(__file__).parents[1] / "clients" / "typescript" / "src" / "schema.ts"

TAGS: Final = frozenset({"Credits", "Gifts", "Internal", "Jobs", "Sync"})
"""What apps call; operators' and administrators' pages, health and Stripe's webhook are not their business."""

HEAD: Final = (
    "// Made by `python -m web.client_types` from the service's OpenAPI document. Not to be edited by hand.\n"
)

_NAMES: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_REFERENCE: Final = "#/components/schemas/"


def source() -> str:
    """The file's text."""
    document = make_document(operations(), "http://localhost")
    schemas: dict[str, Any] = document["components"]["schemas"]
    chosen = list(_chosen(document))
    wanted = _reachable([operation for _, _, operation in chosen], schemas)
    parts = [HEAD]
    parts += [_declaration(name, schemas[name]) for name in sorted(wanted)]
    types = "".join(_operation_type(method, path, operation) for method, path, operation in chosen)
    parts.append(
        f"/** What is sent and answered, by the operation's id. */\nexport interface Operations {{\n{types}}}\n"
    )
    rows = "".join(_operation_row(method, path, operation) for method, path, operation in chosen)
    parts.append(
        "/** Where each operation is; `takesKey`: it moves credits, once for a key. */\n"
        "export const OPERATIONS: {\n"
        "  readonly [Name in keyof Operations]: { readonly method: string; readonly path: string; "
        "readonly takesKey: boolean };\n"
        f"}} = {{\n{rows}}};\n"
    )
    return "\n".join(parts)


def type_of(schema: Mapping[str, Any]) -> str:
    """The TypeScript type of a schema.  Raises ValueError for a kind of schema that the document never had."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(type_of(one) for one in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        return f"Array<{type_of(schema['items'])}>"
    if kind == "object":
        return _object(schema)
    if isinstance(kind, list):
        return " | ".join(type_of({**schema, "type": one}) for one in kind)
    if kind is None and not set(schema) - {"description", "examples", "default", "title"}:
        return "unknown"
    if kind in _NAMES:
        return _NAMES[kind]
    raise ValueError(f"no TypeScript is known for {schema}")


def _object(schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties")
    if not properties:
        more = schema.get("additionalProperties", True)
        return f"Record<string, {type_of(more) if isinstance(more, Mapping) else 'unknown'}>"
    required = set(schema.get("required", ()))
    fields = "".join(
        f"{_comment(part.get('description'), '  ')}  {name}{'' if name in required else '?'}: {type_of(part)};\n"
        for name, part in properties.items()
    )
    return f"{{\n{fields}}}"


def _declaration(name: str, schema: Mapping[str, Any]) -> str:
    said = _comment(schema.get("description"), "")
    if schema.get("properties"):
        return f"{said}export interface {name} {_object(schema)}\n"
    return f"{said}export type {name} = {type_of(schema)};\n"


def _comment(text: str | None, indent: str) -> str:
    if not text:
        return ""
    return f"{indent}/** {' '.join(text.split()).replace('*/', '* /')} */\n"


def _chosen(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if TAGS & set(operation["tags"]):
                yield method.upper(), path, operation


def _body(operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody")
    return "undefined" if body is None else type_of(body["content"]["application/json"]["schema"])


def _answer(operation: Mapping[str, Any]) -> str:
    kinds = [
        type_of(media["schema"])
        for status, response in operation["responses"].items()
        if str(status).startswith("2")
        for media_type, media in response.get("content", {}).items()
        if media_type == "application/json"
    ]
    return " | ".join(dict.fromkeys(kinds)) or "unknown"


def _parameters(operation: Mapping[str, Any], place: str) -> str:
    found = [one for one in operation.get("parameters", ()) if one["in"] == place]
    if not found:
        return "undefined"
    fields = (f"{one['name']}{'' if one.get('required') else '?'}: {type_of(one['schema'])}" for one in found)
    return f"{{ {'; '.join(fields)} }}"


def _operation_type(method: str, path: str, operation: Mapping[str, Any]) -> str:
    return (
        _comment(f"{method} {path}: {operation['summary']}.", "  ") + f"  {operation['operationId']}: {{\n"
        f"    path: {_parameters(operation, 'path')};\n"
        f"    query: {_parameters(operation, 'query')};\n"
        f"    body: {_body(operation)};\n"
        f"    answer: {_answer(operation)};\n"
        "  };\n"
    )


def _operation_row(method: str, path: str, operation: Mapping[str, Any]) -> str:
    takes_key = any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    row = {"method": method, "path": path, "takesKey": takes_key}
    fields = ", ".join(f"{name}: {json.dumps(value)}" for name, value in row.items())
    return f"  {operation['operationId']}: {{ {fields} }},\n"


def _reachable(nodes: Sequence[Any], schemas: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = list(nodes)
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(schemas[name])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, part in node.items():
            if name == "$ref" and str(part).startswith(_REFERENCE):
                yield part.removeprefix(_REFERENCE)
            elif name not in ("example", "examples"):
                yield from _references(part)
    elif isinstance(node, list):
        for part in node:
            yield from _references(part)


def main(arguments: Sequence[str]) -> int:
    """Write the file; with `--check`, 1 when it is not what would be written."""
    text = source()
    if "--check" not in arguments:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        return 0
    print("clients/typescript/src/schema.ts is out of date: run python -m web.client_types", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
