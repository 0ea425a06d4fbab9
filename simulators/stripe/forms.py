"""Stripe's parameters: form-encoded, nested by brackets; read with Stripe's own complaints."""

import re
from typing import Any
from urllib.parse import parse_qsl

from simulators.stripe.errors import ParameterError

Params = dict[str, Any]

# Stripe's limits on metadata.
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def parse(encoded: str) -> Params:
    """Decode `a=1&b[c]=2&d[0][e]=3&f[]=4` into nested dicts and lists of strings."""
    tree: Params = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        head, *rest = [name.split("[", 1)[0], *_BRACKETS.findall(name)]
        _insert(tree, [head, *rest], value)
    return {name: _lists(value, inside=name) for name, value in tree.items()}


def _insert(tree: Params, path: list[str], value: str) -> None:
    *parents, last = path
    for part in parents:
        tree = tree.setdefault(part or str(len(tree)), {})
        if not isinstance(tree, dict):
            raise ParameterError(f"Invalid object: {part}", param=path[0])
    tree[last or str(len(tree))] = value


def _lists(value: Any, *, inside: str) -> Any:
    """Turn dicts whose names are 0, 1, 2… into lists; a metadata key may well be a number."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one, inside=name) for name, one in value.items()}
    if inside != "metadata" and inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def check_known(params: Params, known: frozenset[str]) -> None:
    """Refuse parameters that the call does not have, as Stripe does."""
    for name in params:
        if name not in known and name != "expand":
            raise ParameterError(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def required(params: Params, name: str) -> Any:
    """Return a parameter that must be there and not be empty."""
    value = params.get(name)
    if value in (None, ""):
        raise ParameterError(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return value


def text(params: Params, name: str, default: str | None = None) -> str | None:
    """Return a parameter as text; Stripe reads the empty string as null."""
    value = params.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ParameterError("Invalid string", code="parameter_invalid_string", param=name)
    return value or None


def integer(params: Params, name: str, default: int | None = None, *, least: int = 0) -> int | None:
    """Return a parameter as an integer of at least `least`."""
    value = params.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,15}", value):
        raise ParameterError(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    if int(value) < least:
        raise ParameterError(
            f"This value must be greater than or equal to {least}.",
            code="parameter_invalid_integer",
            param=name,
        )
    return int(value)


def boolean(params: Params, name: str, *, default: bool = False) -> bool:
    """Return a parameter as a truth value."""
    value = params.get(name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise ParameterError(f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def one_of(params: Params, name: str, allowed: tuple[str, ...], default: str | None = None) -> str | None:
    """Return a parameter that is one of `allowed`."""
    value = text(params, name, default)
    if value is not None and value not in allowed:
        raise ParameterError(f"Invalid {name}: must be one of {', '.join(allowed)}", param=name)
    return value


def mapping(params: Params, name: str) -> Params:
    """Return a nested object, empty where it is absent."""
    value = params.get(name) or {}
    if not isinstance(value, dict):
        raise ParameterError("Invalid object", param=name)
    return value


def sequence(params: Params, name: str) -> list[Any]:
    """Return a list, empty where it is absent."""
    value = params.get(name) or []
    if not isinstance(value, list):
        raise ParameterError("Invalid array", param=name)
    return value


def metadata(params: Params, before: dict[str, str] | None = None) -> dict[str, str]:
    """Return `before` with the given metadata merged in: an empty value takes a key out."""
    if params.get("metadata") == "":
        return {}
    merged = {**(before or {}), **mapping(params, "metadata")}
    merged = {name: value for name, value in merged.items() if value != ""}
    if len(merged) > METADATA_KEYS_MAX:
        raise ParameterError(f"Metadata can have at most {METADATA_KEYS_MAX} keys", param="metadata")
    for name, value in merged.items():
        if not isinstance(value, str):
            raise ParameterError("Invalid string", param=f"metadata[{name}]")
        if len(name) > METADATA_KEY_LENGTH_MAX or len(value) > METADATA_VALUE_LENGTH_MAX:
            raise ParameterError("Metadata key or value is too long", param=f"metadata[{name}]")
    return merged
