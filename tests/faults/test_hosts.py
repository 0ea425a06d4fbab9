"""Several hosts, which are network namespaces: a short look at what `./dev hosts` does for minutes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devkit.paths import ROOT
from devkit.waiting import wait_until
from tests.faults.hosts import cutting
from tests.faults.hosts.cutting import make_schedule
from tests.faults.hosts.furnishing import LIVES_ON
from tests.faults.hosts.network import Cut, enter, missing
from tests.faults.hosts.takeover import SOON_SECONDS


@pytest.fixture
def can_make_hosts() -> None:
    """Skip, and say what to install, where no namespaces can be made; `HOSTS_TESTS=required` makes that a failure."""
    if reason := missing():
        if os.environ.get("HOSTS_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)


def test_the_same_seed_cuts_the_same_hosts_and_everything_has_its_turn() -> None:
    cuts = make_schedule(7, 600)
    assert cuts == make_schedule(7, 600) != make_schedule(8, 600)
    assert {cut.target for cut in cuts} == {target.name for target in cutting.TARGETS}
    assert {cut.what for cut in cuts} == set(Cut)
    assert all(cut.until <= 600 for cut in cuts)
    hosts = {cut.target.partition(">")[0] for cut in cuts} - {cutting.LEADER}
    assert hosts <= set(LIVES_ON)


TWO_HOSTS = """
import signal, sys
from pathlib import Path
from devkit.child import Child
from devkit.program import Program
from tests.faults.hosts.network import Network

network = Network("here", ("there",), data="there")
network.make()
child = Child(Program("sleeper", ("sleep", "600"), within=network.within("there")), Path("/dev/null"))
print(child.pid, flush=True)
signal.pause()
"""


def namespaces(process: Path) -> set[str]:
    """Its network, and its view of the files."""
    return {str((process / "ns" / kind).readlink()) for kind in ("net", "mnt")}


def namespaces_in_use() -> set[str]:
    """Those in which some process is."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it is gone meanwhile
            found |= namespaces(process)
    return found


@pytest.mark.usefixtures("can_make_hosts")
def test_of_a_run_that_is_killed_no_network_is_left() -> None:
    interfaces = set(Path("/sys/class/net").iterdir())
    with subprocess.Popen(enter(sys.executable, "-c", TWO_HOSTS), cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        here, there = (Path("/proc") / pid for pid in (str(run.pid), run.stdout.readline().decode().strip()))
        # One network each; the files are looked at by both alike.
        assert wait_until(lambda: len(namespaces(here) | namespaces(there)) == 3, SOON_SECONDS)
        made = namespaces(here) | namespaces(there)
        assert set(Path("/sys/class/net").iterdir()) == interfaces
        run.kill()
    assert not made & namespaces(Path("/proc/self"))
    assert wait_until(lambda: not made & namespaces_in_use(), SOON_SECONDS)


@pytest.mark.usefixtures("can_make_hosts")
def test_a_scheduler_whose_host_is_gone_without_a_word_is_replaced_while_its_last_answer_is_under_way() -> (
    None
):
    """Without a limit of the server's own for what nobody acknowledges it would lead for a quarter of an hour."""
    result = subprocess.run(
        enter(sys.executable, "-m", "tests.faults.hosts.takeover"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=5 * SOON_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    took = json.loads(result.stdout)
    print(took)
    assert set(took) == {Cut.VANISHED.value, Cut.SWALLOWED.value}
