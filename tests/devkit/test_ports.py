"""A port is given to one who asks."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from devkit import ports
from devkit.paths import ROOT

TWO = "ports.CHOSEN_PORTS = range({0}, {0} + 2); ports.TRIES = 2"

UNUSED = iter(random.sample(range(2_000, 14_000, 2), 6_000))
"""Below those that anybody else chooses from.  What a test has taken stays taken until this process ends."""


@pytest.fixture
def two_ports(monkeypatch: pytest.MonkeyPatch) -> int:
    """There are two, of which this is the lower one."""
    free = next(n for n in UNUSED if ports.is_free(n) and ports.is_free(n + 1))
    monkeypatch.setattr(ports, "CHOSEN_PORTS", range(free, free + 2))
    monkeypatch.setattr(ports, "TRIES", 2)
    return free


def test_no_call_gives_what_another_one_has_given(two_ports: int) -> None:
    assert {ports.choose(), ports.choose()} == {two_ports, two_ports + 1}
    with pytest.raises(OSError, match="none of 2 ports"):
        ports.choose()


def test_no_process_gives_what_another_one_has_given_while_that_lives(two_ports: int) -> None:
    choose = f"from devkit import ports; {TWO.format(two_ports)}; print(ports.choose(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", choose], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        assert ports.is_free(theirs)
        assert {theirs, ports.choose()} == {two_ports, two_ports + 1}
        with pytest.raises(OSError, match="none of 2 ports"):
            ports.choose()
        other.kill()
    assert ports.choose() == theirs
