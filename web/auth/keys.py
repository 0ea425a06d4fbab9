"""The keys of mana-auth that this process knows, and when it asks for them anew."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from web.auth.jwks import DOCUMENT_BYTES_MAX, UnusableDocument, read_jwks
from web.auth.refusals import KeysUnavailable

JWKS_PATH: Final = "/api/auth/jwks"

# Both numbers are the wire contract's.
FRESH_SECONDS: Final = 600.0
COOL_DOWN_SECONDS: Final = 30.0
# Without any key nobody can sign in, and both services may just be starting: ask more often.
COOL_DOWN_WITHOUT_KEYS_SECONDS: Final = 2.0
# Requests with a new key wait for this, so it stays below what callers wait for an answer.
FETCH_TIMEOUT_SECONDS: Final = 3.0

_log: Any = structlog.get_logger(__name__)


class JwksCache:
    """mana-auth's public keys by `kid`, fetched when they are needed and never by two at a time.

    Known keys go on working whatever happens to mana-auth: a refresh runs beside the requests, and a
    fetch that fails, or brings a document without a usable key, changes nothing but when to ask next.

    `auth_url` is mana-auth's base address.  `clock` returns seconds that never go back.
    """

    def __init__(
        self,
        auth_url: str,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = auth_url.rstrip("/") + JWKS_PATH
        self._session = session
        self._clock = clock
        self._keys: Mapping[str, Ed25519PublicKey] = {}
        self._last_fetch_succeeded = False
        self._refresh_due_at = -math.inf
        self._ask_again_at = -math.inf
        self._in_flight: asyncio.Task[None] | None = None

    def known(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name as of the last fetch; nothing is asked."""
        return self._keys.get(kid)

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, or None where mana-auth publishes none.

        A known key is returned at once.  For an unknown one mana-auth is asked, unless it was asked less
        than a cool-down ago, for any reason: a stranger's tokens cannot make this service ask more often.
        Raises KeysUnavailable where the key is unknown and the last fetch failed.
        """
        self.refresh_if_due()
        key = self._keys.get(kid)
        if key is not None:
            return key
        if not self._is_fetching() and self._clock() >= self._ask_again_at:
            self._start_fetch()
        if self._in_flight is not None and self._is_fetching():
            # Shielded: one waiter that hangs up must not end the fetch for the others.
            await asyncio.shield(self._in_flight)
            key = self._keys.get(kid)
        if key is None and not self._last_fetch_succeeded:
            raise KeysUnavailable(max(1, math.ceil(self._ask_again_at - self._clock())))
        return key

    def refresh_if_due(self) -> None:
        """Start a fetch beside the running requests where the keys are old, or none was ever made.

        Cheap enough for every request.  Needs a running event loop.
        """
        if self._clock() >= self._refresh_due_at and not self._is_fetching():
            self._start_fetch()

    async def close(self) -> None:
        """End a fetch under way; its waiters are cancelled."""
        if self._in_flight is not None:
            self._in_flight.cancel()
            await asyncio.wait([self._in_flight])

    def _is_fetching(self) -> bool:
        return self._in_flight is not None and not self._in_flight.done()

    def _start_fetch(self) -> None:
        self._in_flight = asyncio.create_task(self._fetch(), name="jwks-fetch")

    async def _fetch(self) -> None:
        try:
            keys = read_jwks(await self._download())
        except (aiohttp.ClientError, TimeoutError, OSError, UnusableDocument) as error:
            self._last_fetch_succeeded = False
            wait_seconds = COOL_DOWN_SECONDS if self._keys else COOL_DOWN_WITHOUT_KEYS_SECONDS
            self._ask_again_at = self._refresh_due_at = self._clock() + wait_seconds
            # The error's text may quote the address, and that may hold a password.
            problem = str(error) if isinstance(error, UnusableDocument) else type(error).__name__
            _log.warning("jwks_fetch_failed", problem=problem, keys_known=len(self._keys))
            return
        self._last_fetch_succeeded = True
        self._ask_again_at = self._clock() + COOL_DOWN_SECONDS
        self._refresh_due_at = self._clock() + FRESH_SECONDS
        self._replace_keys(keys)

    def _replace_keys(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        """Take the fetched keys; one that did not change stays the same object.

        Remembered tokens hold on to the object, so they survive a refresh and end with their key.
        """
        if keys.keys() != self._keys.keys():
            _log.info("jwks_changed", added=len(keys.keys() - self._keys), gone=len(self._keys.keys() - keys))
        self._keys = {kid: old if (old := self._keys.get(kid)) == key else key for kid, key in keys.items()}

    async def _download(self) -> bytes:
        """Return the document, cut off one byte beyond the limit.

        Redirects are not followed and compressed bodies not expanded: the one could name any host, the
        other grow to any size.
        """
        async with self._session.get(
            self._url,
            allow_redirects=False,
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS),
        ) as answer:
            if answer.status != 200:
                raise UnusableDocument(f"status {answer.status}")
            body = bytearray()
            # Ends with the body, or when nothing is left to read up to the limit.
            while chunk := await answer.content.read(DOCUMENT_BYTES_MAX + 1 - len(body)):
                body += chunk
            return bytes(body)
