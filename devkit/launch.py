"""Become another program that dies when its parent dies.

    python launch.py PARENT_PID DEATH_SIGNAL IDENTITY PROGRAM [ARGUMENT …]

A program of its own, so that the signal is set in the process that becomes PROGRAM: the kernel
forgets it on fork and when identities change.  IDENTITY is one of

    same     stay who we are
    userns   root only: be `nobody` in a user namespace of our own (files stay root's)
    nobody   root only: really become `nobody`

because PostgreSQL refuses to run as root.
"""

import contextlib
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
EXIT_CANNOT_LAUNCH = 125


def checked(result: int, what: str) -> None:
    """Raise OSError when a call into the C library failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def enter_user_namespace(libc: ctypes.CDLL) -> None:
    """Map root to `nobody` in a new user namespace: the kernel sees root, PostgreSQL does not."""
    nobody = pwd.getpwnam("nobody")
    uid, gid = os.getuid(), os.getgid()
    checked(libc.unshare(CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {gid} 1")


def become_nobody() -> None:
    """Give up root for good."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def main(arguments: list[str]) -> None:
    """Change identity, ask to die with the parent, and become the program."""
    parent, death_signal, identity, *program = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if identity == "userns":
        enter_user_namespace(libc)
    elif identity == "nobody":
        become_nobody()
    if identity != "same" and os.geteuid() == 0:
        raise OSError(f"still root as {identity}")
    checked(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl")
    if os.getppid() != int(parent):
        # The parent died before the signal was set, so it will never come.
        raise OSError(f"the parent {parent} is gone")
    # Python ignores SIGPIPE and an ignored signal outlives exec; servers expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(program[0], program)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(f"cannot start {sys.argv[4:5]}: {error}\n")
        sys.exit(EXIT_CANNOT_LAUNCH)
