"""The notifier, over HTTP: one request, bounded in time, no redirect followed, no proxy asked."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

import msgspec

from domain.notices.gateway import Notification, NotifierFailed

TIMEOUT_SECONDS: Final = 10.0
"""For connecting, and for each silence after that: the notifier only has to write down what it will send."""

ANSWER_BYTES_MAX: Final = 64 * 1024

SEND_PATH: Final = "/api/v1/notifications/send"


class HttpNotifier:
    """A domain.notices.gateway.Notifier that asks the service at `url`, an http or https address."""

    def __init__(self, url: str, service_key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError("the notifier's address must begin with http:// or https:// and name a host")
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = parts.path.rstrip("/") + SEND_PATH
        self._service_key = service_key

    def send(self, notification: Notification, /) -> None:
        """Return when it has accepted it.  Raises NotifierFailed, which never says for whom it was."""
        try:
            status = self._ask(msgspec.json.encode(notification))
        except (OSError, http.client.HTTPException) as error:
            raise NotifierFailed(f"no whole answer: {type(error).__name__}") from error
        if not 200 <= status < 300:
            raise NotifierFailed(f"answered {status}")

    def _ask(self, body: bytes) -> int:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            headers = {"Content-Type": "application/json", "X-Service-Key": self._service_key}
            connection.request("POST", self._path, body=body, headers=headers)
            response = connection.getresponse()
            # Read to its end, for an answer cut off is none; and what is left over shows that it was, or too long.
            response.read(ANSWER_BYTES_MAX)
            if response.length or response.read(1):
                raise http.client.HTTPException("the answer is cut off, or too long")
            return response.status
        finally:
            connection.close()
