"""Making `.venv` from the lock file, once, and again when something it depends on has changed."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from devkit.errors import DevError
from devkit.locks import FileLock
from devkit.paths import LOCK_FILE, ROOT, VENV, VENV_PYTHON
from devkit.screen import progress, say

INSTALLER_LOCK = ROOT / "devkit" / "installer.lock"
STAMP = VENV / ".installed"
UNFINISHED = VENV / ".installing"
LOG = VENV / "install.log"
LOG_TAIL_BYTES = 3_000
WAIT_SECONDS = 600.0

# uv trusts its own list of authorities unless told to use the machine's, and may fetch a Python of its own.
UV_ENVIRONMENT = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def ensure_installed(*, force: bool = False) -> None:
    """Make `.venv` what requirements.lock says; nothing to do when it already is.

    Two of these at once: the second waits for the first.  Interrupted: the next one begins anew.
    Raises DevError when a package cannot be had.
    """
    if is_installed() and not force:
        return
    lock = FileLock(ROOT)
    if not lock.acquire():
        say("Another ./dev is installing; waiting for it.")
        if not lock.acquire(wait_seconds=WAIT_SECONDS):
            raise DevError(f"Another ./dev has been installing for {WAIT_SECONDS:.0f} s.")
    try:
        if force or not is_installed():
            _install()
    finally:
        lock.release()


def is_installed() -> bool:
    """Whether `.venv` was finished from these very files, here, with the Python that it points to."""
    return VENV_PYTHON.exists() and STAMP.exists() and STAMP.read_text() == _stamp()


def _install() -> None:
    say(f"Installing into {VENV}")
    STAMP.unlink(missing_ok=True)
    if UNFINISHED.exists() or not _venv_is_usable():
        with progress("Making the virtual environment"):
            _make_venv()
    UNFINISHED.touch()
    LOG.write_text("")
    if not (_get_uv() and _sync_with_uv()):
        _install_with_pip()
    STAMP.write_text(_stamp())
    UNFINISHED.unlink()


def _stamp() -> str:
    """What the environment depends on: both locks, its place (scripts name it), its Python."""
    locks = hashlib.sha256(LOCK_FILE.read_bytes() + INSTALLER_LOCK.read_bytes()).hexdigest()
    return f"{locks}\n{VENV}\n{(VENV / 'pyvenv.cfg').read_text()}"


def _venv_is_usable() -> bool:
    """Whether there is an environment whose Python runs and has pip, and that was made at this very place."""
    pip = VENV / "bin" / "pip"
    if not VENV_PYTHON.exists() or not pip.exists():
        return False
    # The scripts name their Python by its full path: those of a checkout that was moved point to nowhere.
    if str(VENV_PYTHON.parent) not in pip.read_text():
        return False
    return subprocess.run([VENV_PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode == 0


def _make_venv() -> None:
    # The real interpreter: we may be running from the very environment that is to be replaced.
    python = Path(sys.executable).resolve()
    command = [str(python), "-m", "venv", "--clear", str(VENV)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DevError(
            f"{python} cannot make a virtual environment:\n{result.stdout}{result.stderr}\n"
            "On Debian and Ubuntu: apt-get install python3-venv"
        )


def _get_uv() -> bool:
    """Install uv, which is four times as fast as pip; False when it cannot be had."""
    if (VENV / "bin" / "uv").exists():
        return True
    return _logged("Getting the installer (uv)", [*_pip_install(), "--requirement", str(INSTALLER_LOCK)])


def _sync_with_uv() -> bool:
    command = [str(VENV / "bin" / "uv"), "pip", "sync", "--require-hashes", "--python", str(VENV_PYTHON)]
    return _logged("Installing the packages of requirements.lock", [*command, str(LOCK_FILE)])


def _install_with_pip() -> None:
    say("uv did not work here; trying pip, which is slower.")
    command = [*_pip_install(), "--requirement", str(LOCK_FILE)]
    if not _logged("Installing the packages of requirements.lock with pip", command):
        tail = LOG.read_text(errors="replace")[-LOG_TAIL_BYTES:]
        raise DevError(f"The packages could not be installed; the end of {LOG}:\n{tail}")


def _pip_install() -> list[str]:
    options = ["--require-hashes", "--no-input", "--disable-pip-version-check"]
    return [str(VENV_PYTHON), "-m", "pip", "install", *options]


def _logged(what: str, command: list[str]) -> bool:
    """Run a command, its output going to the log; whether it succeeded."""
    environment = {**os.environ, **UV_ENVIRONMENT, "VIRTUAL_ENV": str(VENV)}
    with progress(what) as step, LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        result = subprocess.run(
            command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False
        )
        step.succeeded = result.returncode == 0
    return step.succeeded
