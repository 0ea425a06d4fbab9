"""`expand[]`: ids in an answer replaced by the objects they name."""

import copy
from typing import Any

from simulators.stripe import charges
from simulators.stripe.errors import ParameterError
from simulators.stripe.shapes import Object, list_of
from simulators.stripe.world import World

# Stripe's own limit.
DEPTH_MAX = 4


def expand(world: World, answer: Object, paths: list[str]) -> Object:
    """Return a copy of `answer` with the objects at `paths` (`latest_charge.refunds`, `data.customer`)."""
    expanded = copy.deepcopy(answer)
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEPTH_MAX + (parts[0] == "data"):
            raise ParameterError(f"You cannot expand more than {DEPTH_MAX} levels of a property.")
        _expand(world, expanded, parts)
    return expanded


def _expand(world: World, obj: Object, parts: list[str]) -> None:
    head, *rest = parts
    value = _value(world, obj, head)
    if isinstance(value, str):
        found = world.store.find_anywhere(value)
        if found is None:
            raise _refusal(head)
        value = copy.deepcopy(found)
    obj[head] = value
    if not rest or value is None:
        return
    for one in value if isinstance(value, list) else [value]:
        _expand(world, one, rest)


def _value(world: World, obj: Object, name: str) -> Any:
    if obj.get("object") == "charge" and name == "refunds":
        return copy.deepcopy(charges.refunds_of(world, obj))
    if obj.get("object") == "checkout.session" and name == "line_items":
        lines = copy.deepcopy(world.store.hidden[obj["id"]]["lines"])
        return list_of(lines, f"/v1/checkout/sessions/{obj['id']}/line_items")
    if name not in obj:
        raise _refusal(name)
    return obj[name]


def _refusal(name: str) -> ParameterError:
    return ParameterError(f"This property cannot be expanded ({name}).", param="expand")
