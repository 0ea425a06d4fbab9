"""Everything the simulator knows, in memory; what changes is added to one file where there is a directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulators.files import write_atomically
from simulators.stripe import forms
from simulators.stripe.errors import ParameterError, no_such
from simulators.stripe.shapes import Object, list_of

STORE_FILE = "stripe.jsonl"

# Stripe's own limits of a page.
PAGE_DEFAULT = 10
PAGE_MAX = 100

# Beside the resources, what the file has: answers by their idempotency key, and what is hidden by an object's id.
ANSWER, HIDDEN = "answer", "hidden"
NOTHING = hash(json.dumps(None))


class Store:
    """Objects by resource (`payment_intent`, …) and id, oldest first, with what only Stripe knows of each.

    `hidden` holds, by object id, facts that no field shows: how a test card behaves, which intent an
    open Checkout session has, how often an event is still to be delivered.

    Whoever got an object from `put`, `find`, `get` or `find_anywhere` may change it, and what is hidden of it:
    the next `save` writes that alone, so that a change costs the same however much is known.  What `all` gives
    is for reading.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._path = directory / STORE_FILE if directory else None
        self.objects: dict[str, dict[str, Object]] = {}
        self.hidden: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        # In the order in which they were given, which is that of the objects' making.
        self._given: dict[tuple[str, str], None] = {}
        self._written: dict[tuple[str, str], int] = {}
        if self._path and self._path.exists():
            self._read(self._path)
            self.begin_anew()

    def _read(self, path: Path) -> None:
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            # A line without its end was being written when the process was killed: it was never answered.
            for section, name, value in json.loads(line) if line.endswith("\n") else ():
                if value is None:
                    self._section(section).pop(name, None)
                else:
                    self._section(section)[name] = value

    def begin_anew(self) -> None:
        """Write a file with the newest of everything, and nothing else."""
        if self._path:
            sections = {**self.objects, ANSWER: self.answers, HIDDEN: self.hidden}
            self._given = {(section, name): None for section, known in sections.items() for name in known}
            self._written = {}
            write_atomically(self._path, self._changes())

    def save(self) -> None:
        """Add what changed to the file, if there is one; who reads it after a crash sees a save whole or not."""
        if self._path and (changes := self._changes()):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(changes)

    def _changes(self) -> str:
        """A line with what was given and is not as it was written last; empty where nothing is."""
        given = dict.fromkeys(
            one for section, name in self._given for one in ((section, name), (HIDDEN, name))
        )
        changed = []
        for section, name in given:
            value = self._section(section).get(name)
            written = hash(json.dumps(value))
            if written != self._written.get((section, name), NOTHING):
                changed.append((section, name, value))
                self._written[section, name] = written
        self._given = {}
        return json.dumps(changed) + "\n" if changed else ""

    def _section(self, name: str) -> dict[str, Any]:
        special = {ANSWER: self.answers, HIDDEN: self.hidden}.get(name)
        return self.objects.setdefault(name, {}) if special is None else special

    def _give(self, obj: Object) -> Object:
        self._given[obj["object"], obj["id"]] = None
        return obj

    def keep_answer(self, key: str, answer: dict[str, Any]) -> None:
        """Keep what was answered under an idempotency key."""
        self.answers[key] = answer
        self._given[ANSWER, key] = None

    def put(self, obj: Object, /, **hidden: Any) -> Object:
        """Keep a new object and return it."""
        self.objects.setdefault(obj["object"], {})[obj["id"]] = obj
        if hidden:
            self.hidden[obj["id"]] = hidden
        return self._give(obj)

    def all(self, resource: str) -> list[Object]:
        """Return every object of a resource, oldest first."""
        return list(self.objects.get(resource, {}).values())

    def find(self, resource: str, object_id: str) -> Object | None:
        """Return an object, or None."""
        found = self.objects.get(resource, {}).get(object_id)
        return None if found is None else self._give(found)

    def get(self, resource: str, object_id: str, param: str = "id") -> Object:
        """Return an object.  Raises the StripeError `resource_missing` (404); `param` is named in it."""
        obj = self.find(resource, object_id)
        if obj is None:
            raise no_such(resource.replace("checkout.", "checkout "), object_id, param)
        return obj

    def find_anywhere(self, object_id: str) -> Object | None:
        """Return the object with that id, of whatever resource, or None."""
        found = (self.find(resource, object_id) for resource in self.objects)
        return next((one for one in found if one is not None), None)

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
