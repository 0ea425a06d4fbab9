"""Everything the simulator knows, in memory; saved whole to one file where there is a directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulators.files import write_atomically
from simulators.stripe import forms
from simulators.stripe.errors import ParameterError, no_such
from simulators.stripe.shapes import Object, list_of

STORE_FILE = "stripe.json"

# Stripe's own limits of a page.
PAGE_DEFAULT = 10
PAGE_MAX = 100


class Store:
    """Objects by resource (`payment_intent`, …) and id, oldest first, with what only Stripe knows of each.

    `hidden` holds, by object id, facts that no field shows: how a test card behaves, which intent an
    open Checkout session has.  `idempotency` and `undelivered` belong to their own modules.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._path = directory / STORE_FILE if directory else None
        self.objects: dict[str, dict[str, Object]] = {}
        self.hidden: dict[str, dict[str, Any]] = {}
        self.idempotency: dict[str, dict[str, Any]] = {}
        self.undelivered: list[str] = []
        if self._path and self._path.exists():
            self.__dict__.update(json.loads(self._path.read_text(encoding="utf-8")))

    def save(self) -> None:
        """Write everything to the file, if there is one; a reader or a crash sees the old or the new."""
        if self._path:
            kept = {name: value for name, value in self.__dict__.items() if name != "_path"}
            write_atomically(self._path, json.dumps(kept))

    def put(self, obj: Object, /, **hidden: Any) -> Object:
        """Keep a new object and return it."""
        self.objects.setdefault(obj["object"], {})[obj["id"]] = obj
        if hidden:
            self.hidden[obj["id"]] = hidden
        return obj

    def all(self, resource: str) -> list[Object]:
        """Return every object of a resource, oldest first."""
        return list(self.objects.get(resource, {}).values())

    def find(self, resource: str, object_id: str) -> Object | None:
        """Return an object, or None."""
        return self.objects.get(resource, {}).get(object_id)

    def get(self, resource: str, object_id: str, param: str = "id") -> Object:
        """Return an object.  Raises the StripeError `resource_missing` (404); `param` is named in it."""
        obj = self.find(resource, object_id)
        if obj is None:
            raise no_such(resource.replace("checkout.", "checkout "), object_id, param)
        return obj

    def find_anywhere(self, object_id: str) -> Object | None:
        """Return the object with that id, of whatever resource, or None."""
        return next((of_kind[object_id] for of_kind in self.objects.values() if object_id in of_kind), None)

    def page(
        self, resource: str, params: forms.Params, url: str, matches: Callable[[Object], bool]
    ) -> Object:
        """Return a page of a list, newest first: `limit`, `starting_after`, `ending_before`, `created[…]`."""
        limit = forms.integer(params, "limit", PAGE_DEFAULT, least=1) or PAGE_DEFAULT
        if limit > PAGE_MAX:
            raise ParameterError(f"This value must be less than or equal to {PAGE_MAX}.", param="limit")
        created = _created_filter(params)
        found = [one for one in reversed(self.all(resource)) if matches(one) and created(one["created"])]
        ids = [one["id"] for one in found]
        if after := params.get("starting_after"):
            rest = found[self._position(resource, ids, after, "starting_after") + 1 :]
            return list_of(rest[:limit], url, has_more=len(rest) > limit)
        if before := params.get("ending_before"):
            rest = found[: self._position(resource, ids, before, "ending_before")]
            return list_of(rest[-limit:], url, has_more=len(rest) > limit)
        return list_of(found[:limit], url, has_more=len(found) > limit)

    def _position(self, resource: str, ids: list[str], cursor: str, param: str) -> int:
        if cursor not in ids:
            raise no_such(resource, cursor, param)
        return ids.index(cursor)


def _created_filter(params: forms.Params) -> Callable[[int], bool]:
    created = params.get("created")
    if created is None:
        return lambda _: True
    if isinstance(created, str):
        exact = forms.integer(params, "created")
        return lambda at: at == exact
    tests: dict[str, Callable[[int, int], bool]] = {
        "gt": lambda at, limit: at > limit,
        "gte": lambda at, limit: at >= limit,
        "lt": lambda at, limit: at < limit,
        "lte": lambda at, limit: at <= limit,
    }
    forms.check_known(created, frozenset(tests))
    limits = [(tests[name], forms.integer(created, name) or 0) for name in created]
    return lambda at: all(test(at, limit) for test, limit in limits)
