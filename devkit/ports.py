"""Ports on the loopback interface that stay the same between runs."""

import errno
import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so that
# a server that restarts does not find its port lent to a client.
CHOSEN_PORTS = range(15_000, 32_000)
TRIES = 200


def is_free(port: int) -> bool:
    """Whether nobody listens on `port`, on any address of this machine."""
    with socket.socket() as probe:
        # As servers do, so that connections of an earlier run that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def choose() -> int:
    """A free port, at random so that neighbours who choose at the same moment differ.

    While this process lives, no other call of this function gives it, here or in another process: the port stays free
    until whoever asked for it listens there, which may be a while.
    """
    for port in random.sample(CHOSEN_PORTS, TRIES):
        if is_free(port) and _claim(port):
            return port
    raise OSError(f"none of {TRIES} ports tried between {CHOSEN_PORTS.start} and {CHOSEN_PORTS.stop} is free")


def _claim(port: int) -> bool:
    # A name that one socket of this machine can have (of this network namespace, as ports are), for as long as it is
    # open: it goes with the process, however that ends.
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0mana-credits-port-{port}")
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    claim.detach()
    return True


def remembered(file: Path) -> int:
    """The port written in `file` when it is free, else another one, which is written there."""
    if file.exists() and (text := file.read_text().strip()).isdigit() and is_free(int(text)):
        return int(text)
    port = choose()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{port}\n")
    return port
