"""`python -m tests.workers.program`: the workers, with the tests' kinds of jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workers.__main__ import main

if TYPE_CHECKING:
    from domain.jobs import Handler
    from workers.parts import Parts


def handlers(_parts: Parts) -> Sequence[Handler]:
    """A master has none."""
    from tests.support.jobs import HANDLERS

    return HANDLERS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], handlers, float(os.environ.get("TEST_DRAIN_SECONDS", "12"))))
