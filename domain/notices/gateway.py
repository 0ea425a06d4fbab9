"""The door to the notifier: its interface and values.  The HTTP behind it is the workers' (workers/notifier.py)."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Notification(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the notifier is asked to send, in the words of the wire (contract, section 5).

    It sends once for an `external_id`, however often it is asked.  `recipient` is left out where no address
    is known: the notifier may know the person.
    """

    channel: str
    app_id: str
    user_id: str
    recipient: str | None = None
    subject: str
    body: str
    data: dict[str, Any]
    external_id: str


class NotifierFailed(Exception):
    """The notifier did not take the notification, or it is not known whether it did.  Asking again is safe."""


class Notifier(Protocol):
    """Sends notifications, or says that it cannot."""

    def send(self, notification: Notification, /) -> None:
        """Return when the notifier has accepted it.  Raises NotifierFailed."""
        ...
