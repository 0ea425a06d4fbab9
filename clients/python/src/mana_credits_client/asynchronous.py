"""The asynchronous client: the synchronous one, with `await`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from mana_credits_client import requests
from mana_credits_client.amounts import Amount
from mana_credits_client.attempts import Lost, Patience, Pause, Received, Result, Step, attempts
from mana_credits_client.client import NEVER_SENT, is_lost_commit, left_standing, not_put_back
from mana_credits_client.errors import Refused, Unconfirmed
from mana_credits_client.options import Options, WhenOffline
from mana_credits_client.requests import Request
from mana_credits_client.values import Balance, Grant, Refund, Reservation, Use

T = TypeVar("T")

logger: Final = logging.getLogger("mana_credits_client")


class AsyncCreditsClient:
    """Calls the credit service with a service key, from one event loop.  What each call does and raises is said at
    CreditsClient's.
    """

    def __init__(
        self,
        base_url: str,
        *,
        service_key: str,
        app_id: str,
        when_offline: WhenOffline = WhenOffline.REFUSE,
        patience: Patience | None = None,
    ) -> None:
        """Nothing is sent yet.  Raises ValueError for settings that cannot work."""
        self._options = Options(base_url, app_id, service_key, when_offline, patience or Patience())
        self._http = httpx.AsyncClient(base_url=base_url, headers=self._options.headers)

    def __repr__(self) -> str:
        """Without the service key."""
        return f"{type(self).__name__}({self._options.base_url!r}, app_id={self._options.app_id!r})"

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def balance(self, user_id: str) -> Balance:
        """What a person has; zeros for one never seen."""
        return await self._call(requests.balance(user_id))

    async def open_balance(self, user_id: str) -> Balance:
        """Make a person's balance, if there is none."""
        return await self._call(requests.open_balance(user_id))

    async def use(
        self,
        user_id: str,
        amount: Amount,
        description: str,
        *,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Use:
        """Spend `amount` credits (above zero, at most three decimals) now, once for a key."""
        request = requests.use(
            user_id, amount, description, app_id=self._options.app_id, key=key, metadata=metadata
        )
        try:
            return await self._call(request)
        except Unconfirmed as error:
            if self._options.when_offline is WhenOffline.REFUSE:
                raise
            logger.warning("%s; let through unconfirmed", error)
            return Use(key=str(request.key), confirmed=False, transaction=None)

    async def refund(
        self,
        user_id: str,
        amount: Amount,
        description: str,
        *,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Refund:
        """Give back `amount` credits, once for a key.  It is written down when this returns, and done soon."""
        return await self._call(
            requests.refund(
                user_id,
                amount,
                description,
                app_id=self._options.app_id,
                key=key,
                metadata=metadata,
                wait_seconds=self._options.wait_seconds,
            )
        )

    async def grant(
        self, user_id: str, amount: int, reason: str, reference_id: str, *, description: str | None = None
    ) -> Grant:
        """Reward with whole credits, once for a person and a reference."""
        return await self._call(
            requests.grant(user_id, amount, reason, reference_id, description=description)
        )

    def reserve(
        self,
        user_id: str,
        amount: int,
        reason: str,
        *,
        key: str | None = None,
        expires_in_seconds: int | None = None,
    ) -> AsyncHold:
        """Set whole credits aside: `async with client.reserve(…)`, or `await client.reserve(…)`."""
        return AsyncHold(
            self, requests.reserve(user_id, amount, reason, key=key, expires_in_seconds=expires_in_seconds)
        )

    async def commit(self, reservation_id: str, *, description: str | None = None) -> str:
        """Spend what was set aside; returns the entry's id.  Repeating it is harmless."""
        return await self._call(requests.commit(reservation_id, description=description))

    async def put_back(self, reservation_id: str) -> None:
        """Give back what was set aside.  Repeating it is harmless."""
        await self._call(requests.put_back(reservation_id))

    async def _call(self, request: Request[T]) -> T:
        talk = attempts(request, self._options.patience)
        result: Result = None
        while True:
            try:
                step = talk.send(result)
            except StopIteration as end:
                answer: T = end.value
                return answer
            result = await self._do(step, request)

    async def _do(self, step: Step, request: Request[Any]) -> Result:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            response = await self._http.request(
                request.method,
                request.path,
                content=request.body,
                headers=dict(request.headers),
                timeout=step.timeout_seconds,
            )
        except httpx.RequestError as error:
            return Lost(error, was_sent=not isinstance(error, NEVER_SENT))
        return Received(response.status_code, response.headers, response.content)


class AsyncHold:
    """Credits set aside, once awaited or entered.  `async with` commits when the block ends, and puts back when it
    raises or is cancelled.

    Reserve, commit and put-back are not broken off: who is cancelled in one hears of it when it has ended, which the
    patience's deadline bounds.  What was reserved then is put back.
    """

    def __init__(self, client: AsyncCreditsClient, request: Request[Reservation]) -> None:
        """Nothing is sent yet."""
        self._client = client
        self._request = request
        self._reservation: Reservation | None = None
        self._is_over = False
        self._may_be_committed = False

    @property
    def reservation(self) -> Reservation:
        """The reservation.  Raises RuntimeError before it was made."""
        if self._reservation is None:
            raise RuntimeError("await the hold, or enter it, before it is used")
        return self._reservation

    def __await__(self) -> Generator[Any, None, Self]:
        """Make the reservation; the hold itself."""
        return self._made().__await__()

    async def _made(self) -> Self:
        if self._reservation is None:
            try:
                await to_the_end(self._reserve())
            except asyncio.CancelledError as error:
                await to_the_end(self._end(error))  # nobody will see the hold
                raise
        return self

    async def _reserve(self) -> None:
        self._reservation = await self._client._call(self._request)  # noqa: SLF001  # its own client

    async def __aenter__(self) -> Self:
        """Make the reservation, unless that was done; the hold itself."""
        return await self._made()

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the reservation, unless the block did.  The block's own exception stays the one that is raised."""
        if not self._is_over:
            await to_the_end(self._end(error))

    async def commit(self, *, description: str | None = None) -> str:
        """Spend it now; returns the entry's id."""
        return await to_the_end(self._commit(description))

    async def put_back(self) -> None:
        """Give it back now."""
        await to_the_end(self._put_back())

    async def _end(self, error: BaseException | None) -> None:
        if self._reservation is None:
            return
        if error is None:
            await self._commit(None)
            return
        if self._may_be_committed or is_lost_commit(self.reservation, error):
            error.add_note(left_standing(self.reservation))
            return
        try:
            await self._put_back()
        except Exception as second:  # noqa: BLE001 - noted on the block's own, and logged
            error.add_note(not_put_back(self.reservation, second))

    async def _commit(self, description: str | None) -> str:
        self._may_be_committed = True
        try:
            entry_id = await self._client.commit(self.reservation.id, description=description)
        except Refused:
            self._may_be_committed = False
            raise
        self._is_over = True
        return entry_id

    async def _put_back(self) -> None:
        await self._client.put_back(self.reservation.id)
        self._is_over = True


async def to_the_end(call: Coroutine[Any, Any, T]) -> T:
    """What the call returns.  It is not broken off when its caller is cancelled, however often: that is raised after
    its end, from what the call raised if it did.
    """
    task = asyncio.create_task(call)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is None:
        return task.result()
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        logger.warning("a call whose caller was cancelled failed: %s", failure)
    raise cancelled from failure
