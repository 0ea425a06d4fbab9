"""Two schedulers, each on a host of its own, and two ways in which the one that leads goes away.

`python -m tests.faults.hosts.takeover`, in a network of its own (`network.enter`), says how many seconds the
other one took; it fails when that one never led.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from devkit.child import log_tail
from devkit.paths import ROOT
from devkit.program import Program
from devkit.waiting import wait_until
from tests.faults.hosts.furnishing import DATA, HERE, put_on_host
from tests.faults.hosts.network import Cut, Network
from tests.faults.rig.house import Module
from tests.servers import copy_of_golden
from tests.support.books import Books
from tests.support.process import process_environment

CANDIDATES = ("scheduler-1", "scheduler-2")
SILENCE_SECONDS = 5
SOON_SECONDS = 60.0
"""Far above the silence, for a machine that is busy; far below the quarter of an hour of the kernel's own."""


@dataclass
class Candidates:
    """The two, and what they said."""

    network: Network
    books: Books
    home: Path
    modules: dict[str, Module]

    def said(self, name: str, what: str) -> int:
        """How often."""
        log = self.home / f"{name}.log"
        return log.read_text(errors="replace").count(what) if log.exists() else 0

    def wait_until_leads(self, name: str, times: int) -> None:
        """Wait until it has led so many times.  Raises AssertionError with its log when it does not."""
        assert wait_until(lambda: self.said(name, "leads") >= times, SOON_SECONDS), (
            f"{name} did not lead within {SOON_SECONDS} s: {log_tail(self.home / f'{name}.log')}"
        )

    def lose_an_answer(self, name: str) -> None:
        """Have the server answer a candidate that does not hear it.  Of such an answer keepalive knows nothing."""
        [(now,)] = self.books.rows("SELECT clock_timestamp()")
        self.network.cut(name, Cut.UNANSWERED)

        def has_answered() -> bool:
            last: datetime | None = self.books.one(
                "SELECT max(state_change) FROM pg_stat_activity WHERE client_addr = %s::inet",
                self.network.addresses[name],
            )
            return last is not None and bool(last > now)

        assert wait_until(has_answered, SOON_SECONDS)

    def replace(self, leader: str, follower: str, how: Cut) -> float:
        """Cut the leader off; the seconds until the other led."""
        times = self.said(follower, "leads") + 1
        self.lose_an_answer(leader)
        self.network.cut(leader, how)
        if how is Cut.VANISHED:
            self.modules[leader].kill()
        began = time.monotonic()
        self.wait_until_leads(follower, times)
        return time.monotonic() - began

    def bring_back(self, name: str, how: Cut) -> None:
        """Bring it back."""
        self.network.mend(name, how)
        self.network.mend(name, Cut.UNANSWERED)


def main() -> int:
    """The seconds by way, as JSON."""
    network = Network(HERE, (DATA, *CANDIDATES))
    network.make()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mana-takeover-")))
        home.chmod(0o755)  # PostgreSQL may run as another user, who must be able to pass
        postgres = put_on_host(copy_of_golden(home / "postgres"), network)
        postgres.start()
        stack.callback(postgres.stop)
        url = postgres.url()
        both = Candidates(network, Books(url), home, {})
        first, second = CANDIDATES
        for name in CANDIDATES:
            command = (sys.executable, "-m", "tests.faults.hosts.candidate", url, str(SILENCE_SECONDS))
            program = Program(name, command, process_environment({}), cwd=ROOT, within=network.within(name))
            both.modules[name] = Module(program, home / f"{name}.log")
            both.modules[name].start()
            stack.callback(both.modules[name].kill)
            both.wait_until_leads(first, 1)  # before the second one is there
        took = {Cut.VANISHED.value: both.replace(first, second, Cut.VANISHED)}
        both.bring_back(first, Cut.VANISHED)
        both.modules[first].start()
        took[Cut.SWALLOWED.value] = both.replace(second, first, Cut.SWALLOWED)
        assert wait_until(lambda: both.said(second, "leadership_lost") > 0, SOON_SECONDS), (
            "it leads on for itself"
        )
    print(json.dumps(took))
    return 0


if __name__ == "__main__":
    sys.exit(main())
