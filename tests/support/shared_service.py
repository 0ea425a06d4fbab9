"""The application on a thread of its own, where it stays from test to test."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from domain.settings import read_settings
from simulators import serving
from simulators.auth import AuthSimulator
from web.app import make_app
from web.routing import services_key

SECONDS_MAX: Final = 30
"""To start or to end."""

QUIET_SECONDS_MAX: Final = 2
"""How long requests whose caller has gone may still take."""

LINGER_SECONDS: Final = 1.0
"""How long one is listened to who was refused half-way.  Shorter than that: aiohttp does not notice that he left."""

T = TypeVar("T")


class SharedService:
    """One application, with a mana-auth that it trusts, for all tests that want it with the same variables.

    It lives on a clean database (see `CleanDatabase`): what a test left in the books is removed, and what it
    left under way is waited for, before the next one comes.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._others = ExitStack()
        self.auth = self._others.enter_context(AuthSimulator().on_a_thread())
        self.url = ""
        self.session_name = ""
        self._residents: frozenset[asyncio.Task[Any]] = frozenset()
        self._open = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shared service", daemon=True)
        self._thread.start()
        self._run(self._start(variables))

    def is_quiet(self) -> bool:
        """Whether no request is under way any more, and nothing that one began; waits for that."""
        return self._run(self._settle())

    def close(self) -> None:
        """End it."""
        self._run(self._open.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._others.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS_MAX)

    async def _start(self, variables: Mapping[str, str]) -> None:
        app = make_app(read_settings({**variables, "MANA_AUTH_URL": self.auth.url}))
        self.url = await self._open.enter_async_context(
            serving.in_this_loop(app, linger_seconds=LINGER_SECONDS)
        )
        self.session_name = app[services_key].bridge.session_name
        self._residents = frozenset(asyncio.all_tasks())

    async def _settle(self) -> bool:
        others = self._residents | {asyncio.current_task()}
        deadline = self._loop.time() + QUIET_SECONDS_MAX
        while any(_is_work(task) for task in asyncio.all_tasks() - others):
            if self._loop.time() > deadline:
                return False
            await asyncio.sleep(0.001)
        return True


def _is_work(task: asyncio.Task[Any]) -> bool:
    """Whether it is a request, or something of ours; the pool of connections has tasks that only wait."""
    coroutine = task.get_coro()
    source = Path(coroutine.cr_code.co_filename) if inspect.iscoroutine(coroutine) else Path()
    return not {"asyncio", "psycopg_pool"} & set(source.parts)
