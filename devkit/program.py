"""What is needed to run one server: its command, its environment, how to know that it answers."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Program:
    """One server to run in the foreground as our child."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    is_ready: Callable[[int], bool] | None = None
    """Given the process id, whether it answers.  Must return within two seconds and not raise.

    None where there is nothing to ask: then having lived for a second counts.
    """
    ready_timeout_seconds: float = 60.0
    """How long it may take until it answers, on a machine that has other work."""
    stop_signal: Signals = SIGTERM
    stop_timeout_seconds: float = 20.0
    """How long a polite stop may take before the process is killed."""
    identity: str = "same"
    """See launch.py."""
    inherited_fds: tuple[int, ...] = ()
    cwd: Path | None = None
    within: tuple[str, ...] = ()
    """A command that runs another one elsewhere, in a network namespace for instance, and becomes it."""

    def launch_argv(self) -> list[str]:
        """The command that starts it so that it cannot outlive the calling process.

        The kernel sends the signal when the *thread* that started the child ends: start it from one
        that stays.
        """
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        return [*self.within, *launcher, str(int(self.stop_signal)), self.identity, *self.argv]
