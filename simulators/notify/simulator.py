"""A mana-notify in one object: accepts notifications, sends each `externalId` once, and fails on demand."""

import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from simulators import serving
from simulators.faults import Faults, Handler
from simulators.files import write_atomically
from simulators.pages import page

SEND_PATH = "/api/v1/notifications/send"
SENT_FILE = "notifications.jsonl"
REQUIRED_FIELDS = ("channel", "appId", "userId", "subject", "body", "externalId")

# The page is for looking at, not for scrolling through a bench run's hundred thousand.
SHOWN_MAX = 200

Notification = dict[str, Any]


class NotifySimulator:
    """mana-notify: what was sent is in `sent`, oldest first; what goes wrong is planned in `faults`.

    `service_keys` empty accepts any key that is not empty.  With `directory` what was sent is kept there
    between runs.  `now` returns seconds since the epoch.
    """

    def __init__(
        self,
        *,
        service_keys: tuple[str, ...] = (),
        directory: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.url = ""
        self.service_keys = service_keys
        self.now = now
        self.faults = Faults()
        self.requests = 0
        self._file = directory / SENT_FILE if directory else None
        self._by_external_id: dict[str, Notification] = {}
        if self._file and self._file.exists():
            self._by_external_id = {one["externalId"]: one for one in _read_lines(self._file)}
            write_atomically(self._file, "".join(json.dumps(one) + "\n" for one in self.sent))

    @property
    def sent(self) -> list[Notification]:
        """Each notification accepted, once, oldest first, with `acceptedAt` (seconds) and `repeats`."""
        return list(self._by_external_id.values())

    def sent_to(self, user_id: str) -> list[Notification]:
        """Return what one user was sent, oldest first."""
        return [one for one in self.sent if one["userId"] == user_id]

    def forget(self) -> None:
        """Forget everything that was sent, on disk too."""
        self._by_external_id.clear()
        if self._file:
            self._file.unlink(missing_ok=True)

    def accept(self, body: dict[str, Any]) -> bool:
        """Send a notification unless its `externalId` was sent before; True where it was sent now."""
        known = self._by_external_id.get(body["externalId"])
        if known is not None:
            known["repeats"] += 1
            return False
        one = {"recipient": None, "data": {}, **body, "acceptedAt": self.now(), "repeats": 0}
        self._by_external_id[one["externalId"]] = one
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(one) + "\n")
        return True

    # HTTP

    def application(self) -> web.Application:
        """Return the HTTP side: sending, the page of what was sent, the same as JSON, and health."""
        app = web.Application(middlewares=[self._spoil_when_planned])
        app.add_routes(
            [
                web.post(SEND_PATH, self._answer_send),
                web.get("/sent", self._answer_sent),
                web.get("/health", _answer_health),
                web.get("/", self._answer_page),
            ]
        )
        return app

    @web.middleware
    async def _spoil_when_planned(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != SEND_PATH:
            return await handler(request)
        self.requests += 1
        return await self.faults.apply(
            request, handler, lambda status: {"statusCode": status, "message": "planned"}
        )

    async def _answer_send(self, request: web.Request) -> web.Response:
        if not self._knows_key(request.headers.get("X-Service-Key", "")):
            return _refusal(401, "Invalid or missing service key")
        try:
            body = await request.json()
        except json.JSONDecodeError as error:
            return _refusal(400, f"not JSON: {error}")
        missing = [name for name in REQUIRED_FIELDS if not isinstance(body.get(name), str) or not body[name]]
        if missing:
            return _refusal(400, f"missing: {', '.join(missing)}")
        sent_now = self.accept(body)
        return web.json_response(
            {"accepted": True, "externalId": body["externalId"], "duplicate": not sent_now}, status=202
        )

    def _knows_key(self, given: str) -> bool:
        if not self.service_keys:
            return given != ""
        return any(hmac.compare_digest(given.encode(), key.encode()) for key in self.service_keys)

    async def _answer_sent(self, _: web.Request) -> web.Response:
        return web.json_response({"count": len(self._by_external_id), "sent": self.sent[::-1]})

    async def _answer_page(self, _: web.Request) -> web.Response:
        return page("notify", total=len(self._by_external_id), sent=self.sent[: -SHOWN_MAX - 1 : -1])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve in the running loop on a free port; `url` is set meanwhile."""
        async with serving.in_this_loop(self.application()) as self.url:
            yield self

    @contextmanager
    def on_a_thread(self) -> Iterator[Self]:
        """Serve on a thread of its own on a free port, for tests that block; `url` is set meanwhile."""
        with serving.on_a_thread(self.application()) as self.url:
            yield self


async def _answer_health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)


def _read_lines(path: Path) -> Iterator[Notification]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        # A line without its end was being written when the process was killed: it was never answered.
        if line.endswith("\n"):
            yield json.loads(line)
