"""What a process knows of the master that started it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Final

import structlog

CHILD: Final = "--child"
"""The argument that tells a process that it is one of several."""

READY_VARIABLE: Final = "READY_FD"
"""The descriptor to write to when the process is ready to work."""

MASTER_VARIABLE: Final = "MASTER_FD"
"""The descriptor that reaches its end when the master does."""

SOCKET_VARIABLE: Final = "LISTENING_FD"
"""The descriptor of the socket to accept connections on."""


log = structlog.get_logger(__name__)


def end_with_the_master() -> None:
    """See to it that this process gets a SIGTERM when its master is gone, however it went; without one, nothing."""
    number = os.environ.pop(MASTER_VARIABLE, None)
    if number is not None:
        threading.Thread(target=_outlive, args=(int(number),), name="master", daemon=True).start()


def _outlive(master: int) -> None:
    os.read(master, 1)  # nothing is ever written
    log.warning("master_is_gone")
    signal.raise_signal(signal.SIGTERM)


def listening_socket() -> socket.socket | None:
    """The socket that the master listens on for this process; None in a process that has no master."""
    number = os.environ.pop(SOCKET_VARIABLE, None)
    return None if number is None else socket.socket(fileno=int(number))


def tell_that_nothing_is_replaced() -> None:
    """For SIGHUP at a process without a master: nobody could take over, and ending would be an outage."""
    log.warning(
        "nothing_is_replaced", reason="a process alone cannot be replaced; restart it, or have several"
    )


def tell_ready() -> None:
    """Let the master know that this process is ready, once; without a master, nothing."""
    number = os.environ.pop(READY_VARIABLE, None)
    if number is not None:
        with os.fdopen(int(number), "wb") as pipe:
            pipe.write(b"ready")
