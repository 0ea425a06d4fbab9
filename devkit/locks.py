"""Locks between processes that vanish with the processes holding them."""

import fcntl
import os
from pathlib import Path

from devkit.waiting import wait_until


class FileLock:
    """An advisory lock (flock) on a file or directory.

    The kernel frees it when the last process that holds the descriptor is gone, however it went.
    A child that inherits `fd` therefore keeps the lock for as long as it lives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The open descriptor.  Raises RuntimeError while the lock is not held."""
        if self._fd is None:
            raise RuntimeError(f"{self.path} is not locked")
        return self._fd

    @property
    def held(self) -> bool:
        return self._fd is not None

    def acquire(self, *, wait_seconds: float = 0.0) -> bool:
        """Take the lock, waiting at most `wait_seconds`; False when somebody else keeps it."""
        if self._fd is not None:
            return True
        flags = os.O_RDONLY if self.path.is_dir() else os.O_RDWR | os.O_CREAT
        fd = os.open(self.path, flags | os.O_CLOEXEC, 0o600)

        def taken() -> bool:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(taken, wait_seconds):
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock up.  A child that inherited the descriptor goes on holding it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
