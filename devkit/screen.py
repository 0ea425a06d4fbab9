"""What the person at the terminal sees: progress, colours, tables."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICK_SECONDS = 0.5
COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


def is_terminal() -> bool:
    """Whether a person is looking: colours and moving lines are for them alone."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: str) -> str:
    """`text` in a colour, on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if is_terminal() else text


def say(text: str = "") -> None:
    """Print one message at once; to nobody, when the reader or the terminal is gone.

    What is being run or stopped matters more than its audience (`./dev up | head`, a closed window).
    """
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # stays open to the end


@dataclass
class Step:
    """What `progress` is told about the work it shows."""

    succeeded: bool = True


@contextmanager
def progress(what: str) -> Iterator[Step]:
    """Say that `what` is going on, for how long, and how long it took; the work may set `succeeded`."""
    began = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(TICK_SECONDS):
            sys.stdout.write(f"\r  {what} … {time.monotonic() - began:.0f} s ")
            sys.stdout.flush()

    ticking = threading.Thread(target=tick, daemon=True)
    if is_terminal():
        sys.stdout.write(f"  {what} …")
        sys.stdout.flush()
        ticking.start()
    else:
        say(f"  {what} …")
    step = Step()
    try:
        yield step
    except BaseException:
        step.succeeded = False
        raise
    finally:
        done.set()
        if ticking.is_alive():
            ticking.join()
            sys.stdout.write("\r\x1b[K")
        outcome = "done in" if step.succeeded else "failed after"
        say(f"  {what}: {outcome} {time.monotonic() - began:.1f} s")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
