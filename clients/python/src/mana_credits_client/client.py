"""The synchronous client."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from mana_credits_client import requests
from mana_credits_client.amounts import Amount
from mana_credits_client.attempts import Lost, Patience, Pause, Received, Result, Step, attempts
from mana_credits_client.errors import Refused, Unconfirmed
from mana_credits_client.options import Options, WhenOffline
from mana_credits_client.requests import Request
from mana_credits_client.values import Balance, Grant, Refund, Reservation, Use

T = TypeVar("T")

logger: Final = logging.getLogger("mana_credits_client")

NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class CreditsClient:
    """Calls the credit service with a service key.  Threads may share one; it keeps connections open until `close`.

    Every call raises Refused (its subclasses say why) when the service says no, and Unconfirmed when no answer came
    within `patience`; what moves credits is sent with an idempotency key, `key` or one made for the call.
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
        self._http = httpx.Client(base_url=base_url, headers=self._options.headers)

    def __repr__(self) -> str:
        """Without the service key."""
        return f"{type(self).__name__}({self._options.base_url!r}, app_id={self._options.app_id!r})"

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def balance(self, user_id: str) -> Balance:
        """What a person has; zeros for one never seen."""
        return self._call(requests.balance(user_id))

    def open_balance(self, user_id: str) -> Balance:
        """Make a person's balance, if there is none."""
        return self._call(requests.open_balance(user_id))

    def use(
        self,
        user_id: str,
        amount: Amount,
        description: str,
        *,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Use:
        """Spend `amount` credits (above zero, at most three decimals) now, once for a key.

        Raises InsufficientCredits, BalanceNotFound, IdempotencyKeyReused; Unconfirmed, unless the client lets through.
        """
        request = requests.use(
            user_id, amount, description, app_id=self._options.app_id, key=key, metadata=metadata
        )
        try:
            return self._call(request)
        except Unconfirmed as error:
            if self._options.when_offline is WhenOffline.REFUSE:
                raise
            logger.warning("%s; let through unconfirmed", error)
            return Use(key=str(request.key), confirmed=False, transaction=None)

    def refund(
        self,
        user_id: str,
        amount: Amount,
        description: str,
        *,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Refund:
        """Give back `amount` credits, once for a key.  It is written down when this returns, and done soon.

        Raises BalanceNotFound, IdempotencyKeyReused.
        """
        return self._call(
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

    def grant(
        self, user_id: str, amount: int, reason: str, reference_id: str, *, description: str | None = None
    ) -> Grant:
        """Reward with whole credits, once for a person and a reference."""
        return self._call(requests.grant(user_id, amount, reason, reference_id, description=description))

    def reserve(
        self,
        user_id: str,
        amount: int,
        reason: str,
        *,
        key: str | None = None,
        expires_in_seconds: int | None = None,
    ) -> Hold:
        """Set whole credits aside (for 24 hours, unless said otherwise); as a `with` block it ends by itself.

        Raises InsufficientCredits, BalanceNotFound, IdempotencyKeyReused.
        """
        request = requests.reserve(user_id, amount, reason, key=key, expires_in_seconds=expires_in_seconds)
        return Hold(self, self._call(request))

    def commit(self, reservation_id: str, *, description: str | None = None) -> str:
        """Spend what was set aside; returns the entry's id.  Repeating it is harmless.

        Raises ReservationNotFound, ReservationNotOpen, ReservationExpired.
        """
        return self._call(requests.commit(reservation_id, description=description))

    def put_back(self, reservation_id: str) -> None:
        """Give back what was set aside.  Repeating it is harmless.

        Raises ReservationNotFound, ReservationNotOpen.
        """
        self._call(requests.put_back(reservation_id))

    def _call(self, request: Request[T]) -> T:
        talk = attempts(request, self._options.patience)
        result: Result = None
        while True:
            try:
                step = talk.send(result)
            except StopIteration as end:
                answer: T = end.value
                return answer
            result = self._do(step, request)

    def _do(self, step: Step, request: Request[Any]) -> Result:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            response = self._http.request(
                request.method,
                request.path,
                content=request.body,
                headers=dict(request.headers),
                timeout=step.timeout_seconds,
            )
        except httpx.RequestError as error:
            return Lost(error, was_sent=not isinstance(error, NEVER_SENT))
        return Received(response.status_code, response.headers, response.content)


class Hold:
    """Credits set aside.  `with` commits when the block ends, and puts back when it raises.

    A commit that cannot be confirmed raises Unconfirmed, in the block as at its end: the reservation stands until it
    expires, and `client.commit(hold.reservation.id)` may be repeated until then.
    """

    def __init__(self, client: CreditsClient, reservation: Reservation) -> None:
        """A reservation that was made."""
        self._client = client
        self.reservation = reservation
        self._is_over = False
        self._may_be_committed = False

    def __enter__(self) -> Self:
        """The hold itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the reservation, unless the block did.  The block's own exception stays the one that is raised."""
        if self._is_over:
            return
        if error is None:
            self.commit()
            return
        if self._may_be_committed or is_lost_commit(self.reservation, error):
            error.add_note(left_standing(self.reservation))
            return
        try:
            self.put_back()
        except Exception as second:  # noqa: BLE001 - noted on the block's own, and logged
            error.add_note(not_put_back(self.reservation, second))

    def commit(self, *, description: str | None = None) -> str:
        """Spend it now; returns the entry's id."""
        self._may_be_committed = True
        try:
            entry_id = self._client.commit(self.reservation.id, description=description)
        except Refused:
            self._may_be_committed = False
            raise
        self._is_over = True
        return entry_id

    def put_back(self) -> None:
        """Give it back now."""
        self._client.put_back(self.reservation.id)
        self._is_over = True


def is_lost_commit(reservation: Reservation, error: BaseException) -> bool:
    """Whether what ended a block is that nobody answered a commit of its reservation, made past the hold."""
    return isinstance(error, Unconfirmed) and error.key == requests.commit_key(reservation.id)


def left_standing(reservation: Reservation) -> str:
    """What is noted on a block's exception when a commit before it was not answered; it is logged too."""
    note = (
        f"The commit of reservation {reservation.id} was not answered, so it was not put back: "
        f"commit it again before {reservation.expires_at:%c} UTC."
    )
    logger.warning("%s", note)
    return note


def not_put_back(reservation: Reservation, error: Exception) -> str:
    """What is noted on a block's exception when its credits could not be given back at once; it is logged too."""
    note = f"Reservation {reservation.id} was not put back ({error}); it ends at {reservation.expires_at:%c} UTC."
    logger.warning("%s", note)
    return note
