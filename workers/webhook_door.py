"""The door to apps' endpoints: one request, bounded in time, to a public address that was looked at just now.

No redirect is followed, no proxy asked, no connection kept, and of the answer its status and a few words.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from domain.webhooks import addresses, signing
from domain.webhooks.addresses import AddressRefused, AddressRules
from domain.webhooks.endpoints import ENDPOINTS_MAX
from domain.webhooks.lanes import ANSWER_CHARACTERS_MAX, ATTEMPT_SECONDS_MAX, Attempt, Sending

CONNECT_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 1.0
"""How long the words of an answer are waited for, once its status is known: they are for people who look."""

ANSWER_BYTES_MAX: Final = 4 * ANSWER_CHARACTERS_MAX

USER_AGENT: Final = "mana-credits-webhooks/1"

Lookup = Callable[[str, int], list[str]]
"""What a host stands for; blocks, and raises AddressRefused."""


class _NotPublic(OSError):
    """A host that may not be asked.  An OSError, so that aiohttp hands it on as one."""


class _PublicOnly(AbstractResolver):
    """Looks hosts up for each connection, and gives addresses that are public alone: they are what is connected to.

    Each host is looked up by one thread at a time, whoever waits for it: a dead name server for one host has no more,
    and there are as many threads as endpoints.
    """

    def __init__(self, rules: AddressRules, lookup: Lookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(ENDPOINTS_MAX, thread_name_prefix="lookup")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """Raises _NotPublic, which says why."""
        key = (host, port)
        if key not in self._under_way:
            future = asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host, port)
            self._under_way[key] = future
            future.add_done_callback(partial(self._ended, key))
        try:
            found = await asyncio.shield(self._under_way[key])
            addresses.check_addresses(found, self._rules)
        except AddressRefused as refused:
            raise _NotPublic(str(refused)) from None
        return [_result(host, port, address) for address in found]

    def _ended(self, key: tuple[str, int], future: asyncio.Future[list[str]]) -> None:
        self._under_way.pop(key, None)
        if not future.cancelled():
            future.exception()  # whoever waited may have given up

    async def close(self) -> None:
        """Whoever still waits for a name server is left to it."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


class WebhookDoor:
    """Open it with `async with`; then `post` as many at once as you like."""

    def __init__(
        self,
        rules: AddressRules,
        *,
        lookup: Lookup = addresses.addresses_of,
        attempt_seconds_max: float = ATTEMPT_SECONDS_MAX,
    ) -> None:
        self._rules = rules
        self._lookup = lookup
        self._seconds_max = attempt_seconds_max
        self._session: aiohttp.ClientSession | None = None
        self._resolver: _PublicOnly | None = None

    async def __aenter__(self) -> Self:
        """Inside of the loop that posts."""
        self._resolver = _PublicOnly(self._rules, self._lookup)
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            # How many at once is the deliverer's business, endpoint by endpoint.
            limit=0,
            # A connection that an endpoint has closed meanwhile would cost the next event an attempt.
            force_close=True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._seconds_max, sock_connect=CONNECT_SECONDS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": USER_AGENT, "Content-Type": "application/json"},
        )
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
        if self._resolver is not None:
            await self._resolver.close()

    async def post(self, sent: Sending, *, now: datetime) -> Attempt:
        """Send it; what came of it.  Never raises for what an endpoint does."""
        began = time.monotonic()
        status, words, retry_after, error = None, None, None, None
        try:
            addresses.check_url(sent.url, self._rules)
            status, words, retry_after = await self._ask(sent, now)
        except AddressRefused as refused:
            error = f"not allowed: the address {refused}"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = self._told(failure)
        is_success = status is not None and 200 <= status < 300
        return Attempt(
            at=now,
            seconds=round(time.monotonic() - began, 3),
            status=status,
            error=error,
            answer=None if is_success else words,
            retry_after_seconds=None if is_success else retry_after,
        )

    async def _ask(self, sent: Sending, now: datetime) -> tuple[int, str | None, int | None]:
        if self._session is None:
            raise RuntimeError("the door is not open")
        headers = signing.headers(sent.secrets, sent.event_id, sent.body, now=now)
        async with self._session.post(
            sent.url, data=sent.body, headers=headers, allow_redirects=False
        ) as response:
            words = await _beginning(response)
            return response.status, words, seconds_of(response.headers.get("Retry-After"), now)

    def _told(self, failure: Exception) -> str:
        """Why there was no answer, without what the failure says of addresses inside of our network."""
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, _NotPublic):
                return f"not allowed: the address {cause}"
            if isinstance(cause, ssl.SSLCertVerificationError):
                return "no answer: its certificate is not good"
            cause = cause.__cause__ or getattr(cause, "os_error", None)
        if isinstance(failure, aiohttp.ConnectionTimeoutError):
            return f"no connection within {CONNECT_SECONDS_MAX:g} s"
        if isinstance(failure, TimeoutError):
            return f"no answer within {self._seconds_max:g} s"
        return f"no answer: {type(failure).__name__}"


async def _beginning(response: aiohttp.ClientResponse) -> str | None:
    """The first words of the answer, on one line; what is not there in time, or not to be read, is left out."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            raw = await response.content.read(ANSWER_BYTES_MAX)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return None
    text = raw.decode("utf-8", "replace")[:ANSWER_CHARACTERS_MAX]
    return "".join(sign if sign.isprintable() else " " for sign in text).strip() or None


def seconds_of(retry_after: str | None, now: datetime) -> int | None:
    """The seconds that a `Retry-After` asks for, as a number or as a date; None where it asks for nothing."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return int(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max(int((at - now).total_seconds()), 0) or None
