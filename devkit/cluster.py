"""The files of an embedded PostgreSQL: made once, whole or not at all."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from signal import SIGKILL

from devkit.binaries import postgres_bin, postgres_identity
from devkit.errors import DevError
from devkit.program import Program

SUPERUSER = "postgres"
DATABASE = "mana_credits"

SETTINGS: Mapping[str, str] = {
    # No socket file: its path would have to stay below 107 characters, wherever the checkout lies.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}
# For tests alone: a crash of the machine may lose everything. A kill -9 of the server loses nothing, because
# synchronous_commit stays on: what was answered has reached the kernel.
UNSAFE_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    # Parallel processes share a server, and each may have several services on it.
    "max_connections": "400",
    # Tests' databases live for seconds, and are not used again once something made statistics of them.
    "autovacuum": "off",
}


def create(home: Path) -> None:
    """Make the cluster in `home/data` and its password in `home/password`, unless they are there.

    Made under another name and renamed, so that an interrupted run leaves nothing that looks complete.
    Raises DevError when initdb fails or the data belong to another version of PostgreSQL.
    """
    data = home / "data"
    if data.exists():
        check_version(data)
        return
    _sweep(home)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=home))
    hand_over(making)
    password = home / "password"
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
    hand_over(password)
    _run(
        "initdb",
        *("--pgdata", str(making / "data"), "--username", SUPERUSER, "--pwfile", str(password)),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-instructions"),
        # Repeating the hash protects passwords that can be guessed; this one has 192 random bits.
        *("--set", "scram_iterations=1"),
    )
    _run(
        *("postgres", "--single", "-D", str(making / "data"), "postgres"),
        stdin=f"CREATE DATABASE {DATABASE}\n",
    )
    (making / "data").rename(data)
    making.rmdir()


def check_version(data: Path) -> None:
    """Refuse data that another major version of PostgreSQL wrote."""
    version_file = data / "PG_VERSION"
    written_by = version_file.read_text().strip()
    output = subprocess.run(
        [postgres_bin() / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    if f" {written_by}." not in output:
        raise DevError(
            f"{data} was written by PostgreSQL {written_by}, but the program here is {output.strip()}.\n"
            f"Dump it with the old version, or remove {data.parent} to begin with an empty database."
        )


def hand_over(path: Path) -> None:
    """Give a file or directory to the user as whom PostgreSQL runs, where that is not us."""
    if postgres_identity(postgres_bin() / "postgres") == "nobody":
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _sweep(home: Path) -> None:
    for leftover in home.glob("making-*"):
        shutil.rmtree(leftover)


def _run(program: str, *arguments: str, stdin: str = "") -> None:
    """Run one of PostgreSQL's programs as the right user.  Raises DevError with its output when it fails."""
    binaries = postgres_bin()
    argv = (str(binaries / program), *arguments)
    identity = postgres_identity(binaries / "postgres")
    launch = Program(program, argv, identity=identity, stop_signal=SIGKILL).launch_argv()
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(launch, input=stdin, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DevError(f"{program} failed:\n{result.stdout}{result.stderr}")
