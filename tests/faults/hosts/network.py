"""Hosts on one switch, each a network namespace; and the ways in which one of them can be cut off.

Everything is made in a network and a mount namespace of the run's own (`enter`): the machine's network is not
touched, and when the run's last process is gone, however it went, the kernel takes all of it away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

PROGRAMS = ("ip", "bridge", "nsenter", "unshare", "mount")
NAMESPACES = Path("/run/netns")
SUBNET = "10.77.0"
SWITCH = "switch"
BRIDGE = "bridge0"
CARD = "eth0"
"""A host's network card; the other end of its cable is the switch's port with the host's name."""

NOWHERE = "02:00:00:00:00:01"
"""An address that no card has: what is sent to it arrives nowhere, and nobody is told."""

BLOCKED, FORWARDING = "0", "3"
"""States of a switch's port."""


class Cut(StrEnum):
    """How a host is cut off."""

    UNPLUGGED = "cable out"
    """The card sees that nothing is connected; what is under way waits for nobody."""
    SHUT = "card shut down"
    """Whatever the host tries fails at once."""
    SWALLOWED = "swallowed"
    """The switch passes nothing on, and both sides see a network that is well."""
    VANISHED = "power out"
    """The host is gone without a word; it comes back as one that knows nothing of its connections."""
    APART = "apart from data"
    """It and the host of the database do not reach one another; everybody else does."""
    UNANSWERED = "unanswered by data"
    """What it sends to the host of the database arrives; what is answered does not."""


def missing() -> str | None:
    """What is missing here to make namespaces, and how to get it; None when nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"{', '.join(absent)} not found: `apt-get install iproute2 util-linux`"
    probe = subprocess.run(enter("true"), capture_output=True, text=True, check=False)
    return f"no namespaces here: {probe.stderr.strip()}" if probe.returncode else None


def enter(*command: str) -> tuple[str, ...]:
    """The command, in a network of its own, where `Network` may be made."""
    return ("unshare", "--net", "--mount", "--propagation", "private", "--", *command)


class Network:
    """Hosts by name.  To be made by a process that was started through `enter`, which is the host `here`."""

    def __init__(self, here: str, others: Sequence[str], *, data: str = "data") -> None:
        """`data` is the one of `others` that APART and UNANSWERED are about."""
        self.here = here
        self.addresses = {name: f"{SUBNET}.{number}" for number, name in enumerate((here, *others), 1)}
        self._data = data

    def make(self) -> None:
        """Make the switch and all hosts."""
        NAMESPACES.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", str(NAMESPACES))
        _run("ip", "netns", "add", SWITCH)
        _ip(SWITCH, "link add name", BRIDGE, "type bridge")
        _ip(SWITCH, "link set dev", BRIDGE, "up")
        for name in self.addresses:
            self._add(name)

    def _add(self, name: str) -> None:
        if name == self.here:
            _run("ip", "netns", "attach", name, str(os.getpid()))
        else:
            _run("ip", "netns", "add", name)
        _ip(SWITCH, "link add name", name, "type veth peer name", CARD, "netns", name)
        _ip(SWITCH, "link set dev", name, "master", BRIDGE, "up")
        _ip(name, "address add", f"{self.addresses[name]}/24", "dev", CARD)
        _ip(name, "link set dev", CARD, "up")
        _ip(name, "link set dev lo up")

    def within(self, name: str) -> tuple[str, ...]:
        """What runs a command on a host."""
        return ("nsenter", f"--net={NAMESPACES / name}", "--")

    def cut(self, name: str, how: Cut) -> None:
        """Cut a host off until `mend`.  Of one whose power is out, end the processes then: nobody hears of it."""
        match how:
            case Cut.UNPLUGGED:
                _ip(SWITCH, "link set dev", name, "down")
            case Cut.SHUT:
                _ip(name, "link set dev", CARD, "down")
            case Cut.SWALLOWED:
                _port(name, BLOCKED)
            case Cut.VANISHED:
                _ip(SWITCH, "link delete dev", name)
            case Cut.APART:
                self._lead_astray(name, self._data)
                self._lead_astray(self._data, name)
            case Cut.UNANSWERED:
                self._lead_astray(self._data, name)

    def mend(self, name: str, how: Cut) -> None:
        """Bring it back."""
        match how:
            case Cut.UNPLUGGED:
                _ip(SWITCH, "link set dev", name, "up")
            case Cut.SHUT:
                _ip(name, "link set dev", CARD, "up")
            case Cut.SWALLOWED:
                _port(name, FORWARDING)
            case Cut.VANISHED:
                _run("ip", "netns", "delete", name)
                self._add(name)
            case Cut.APART:
                self._lead_right(name, self._data)
                self._lead_right(self._data, name)
            case Cut.UNANSWERED:
                self._lead_right(self._data, name)

    def _lead_astray(self, sender: str, receiver: str) -> None:
        _ip(
            sender,
            "neighbour replace",
            self.addresses[receiver],
            "lladdr",
            NOWHERE,
            "dev",
            CARD,
            "nud permanent",
        )

    def _lead_right(self, sender: str, receiver: str) -> None:
        _ip(sender, "neighbour flush to", self.addresses[receiver], "dev", CARD, "nud permanent")


def _ip(namespace: str, *words: str) -> None:
    _run("ip", "-n", namespace, *(word for group in words for word in group.split()))


def _port(name: str, state: str) -> None:
    _run("bridge", "-n", SWITCH, "link", "set", "dev", name, "state", state)


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"{' '.join(command)}: {result.stderr.strip()}")
