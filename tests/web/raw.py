"""Bytes, sent to a web process as they are."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.support.client import SERVICE_KEY
from tests.support.process import WebProcess

ANSWER_SECONDS = 10.0
SILENCE_SECONDS = 1.0

PATH = b"/api/v1/internal/credits/grant"
HOST = b"Host: credits\r\n"
KEY = b"X-Service-Key: " + SERVICE_KEY.encode() + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def grant(user_id: str) -> bytes:
    """The body of a grant of 5."""
    return b'{"userId":"%s","amount":5,"reason":"x","referenceId":"r"}' % user_id.encode()


def post(*headers: bytes, body: bytes = b"", path: bytes = PATH) -> bytes:
    """A request with just these headers behind `Host`."""
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(headers) + b"\r\n" + body


def whole(*headers: bytes, body: bytes, path: bytes = PATH) -> bytes:
    """A lawful request."""
    return post(*headers, b"Content-Length: %d\r\n" % len(body), body=body, path=path)


def get(path: bytes, *headers: bytes) -> bytes:
    """A lawful request without a body."""
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(headers) + b"\r\n"


def connected(web: WebProcess) -> socket.socket:
    """A connection, open."""
    return socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_SECONDS)


def exchange(web: WebProcess, *pieces: bytes, answers: int | None = None) -> bytes:
    """Send the pieces and read until `answers` came, or until the other side closes or has nothing more to say."""
    said = b""
    with connected(web) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            # Our side stays open: a half-closed connection is one that nobody reads from.
            connection.settimeout(SILENCE_SECONDS if answers is None else ANSWER_SECONDS)
            while data := connection.recv(65536):
                said += data
                if answers is not None and len(bodies(said)) >= answers:
                    break
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass  # closed while we were still sending, or kept open for the next request
    return said


def parts(said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The whole answers: status, headers by their names in small letters, body."""
    found = []
    while b"\r\n\r\n" in said:
        head, said = said.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        status = int(first.split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(said) < length:
            break
        found.append((status, headers, said[:length]))
        said = said[length:]
    return found


def statuses(said: bytes) -> list[int]:
    """The statuses of the answers."""
    return [status for status, _, _ in parts(said)]


def bodies(said: bytes) -> list[Any]:
    """The answers' JSON."""
    return [json.loads(body) if body else None for _, _, body in parts(said)]


def balance(web: WebProcess, user_id: str) -> Any:
    """What somebody can spend."""
    said = exchange(web, get(b"/api/v1/internal/credits/balance/" + user_id.encode(), KEY), answers=1)
    return bodies(said)[0]["balance"]


def resident_bytes(web: WebProcess) -> int:
    """The process's memory."""
    status = Path(f"/proc/{web.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
