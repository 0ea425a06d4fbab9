"""Compiled Python, kept whatever the machine says: without it two thirds of every process's start is compiling."""

from collections.abc import MutableMapping

from devkit.paths import ROOT

HOME = ROOT / ".data" / "bytecode"


def keep(environ: MutableMapping[str, str]) -> None:
    """Let the processes that inherit `environ` keep what they compile.

    Where the machine wants no compiled files beside the sources (`PYTHONDONTWRITEBYTECODE`) there are none: they
    are kept in one directory of the checkout's instead.
    """
    if environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        environ.setdefault("PYTHONPYCACHEPREFIX", str(HOME))
