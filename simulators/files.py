"""Files that are whole or not there: written beside their name, then put in place at once."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str) -> None:
    """Replace `path` by `content`, readable by its owner alone; a reader sees the old or the new whole."""
    temporary = _write_beside(path, content)
    temporary.replace(path)


def create_once(path: Path, content: str) -> bool:
    """Create `path` with `content` unless it exists; True where it was created by this call.

    Of two processes that create the same file at once, one wins and both then read the same.
    """
    temporary = _write_beside(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _write_beside(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600, which the private keys need and the rest does not mind.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)
