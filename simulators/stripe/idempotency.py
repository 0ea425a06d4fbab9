"""Idempotency keys: the first answer is kept for a day and given again."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from simulators.stripe.errors import StripeError
from simulators.stripe.forms import Params
from simulators.stripe.world import World

KEY_LENGTH_MAX = 255
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Answer:
    """An answer as it went out: status, JSON text, and the id of the request that got it first."""

    status: int
    text: str
    request_id: str


@dataclass
class Idempotency:
    """The keys of one account; those being worked on are in `running`."""

    world: World
    running: set[str] = field(default_factory=set)

    @contextmanager
    def claim(self, key: str, path: str, params: Params) -> Iterator[Answer | None]:
        """Hold a key while its request runs; yields the kept answer where there is one.

        Raises StripeError: 400 for a key used with another request, 409 for one that is running.
        """
        if len(key) > KEY_LENGTH_MAX:
            raise StripeError(
                f"Idempotency keys can be at most {KEY_LENGTH_MAX} characters long.",
                kind="idempotency_error",
            )
        if key in self.running:
            raise StripeError(
                "There is currently another in-progress request using this Idempotent Key (that probably "
                f"means you submitted twice, and the other request is still going through): {key}. "
                "Please try again later.",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        kept = self._kept(key)
        if kept and kept["request"] != _fingerprint(path, params):
            raise StripeError(
                "Keys for idempotent requests can only be used with the same parameters they were first "
                f"used with. Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        self.running.add(key)
        try:
            yield Answer(kept["status"], kept["text"], kept["request_id"]) if kept else None
        finally:
            self.running.discard(key)

    def keep(self, key: str, path: str, params: Params, answer: Answer) -> None:
        """Keep an answer under its key."""
        kept = {
            "request": _fingerprint(path, params),
            "status": answer.status,
            "text": answer.text,
            "request_id": answer.request_id,
            "created": self.world.now(),
        }
        self.world.store.keep_answer(key, kept)

    def _kept(self, key: str) -> dict[str, Any] | None:
        kept = self.world.store.answers.get(key)
        is_over = kept and kept["created"] <= self.world.now() - KEPT_SECONDS
        return None if is_over else kept


def _fingerprint(path: str, params: Params) -> str:
    return hashlib.sha256(json.dumps([path, params], sort_keys=True).encode()).hexdigest()
