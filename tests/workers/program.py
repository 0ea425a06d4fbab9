"""`python -m tests.workers.program`: the workers, with the tests' kinds of jobs."""

import os
import sys

from tests.support.jobs import HANDLERS
from workers.__main__ import main

if __name__ == "__main__":
    drain_seconds = float(os.environ.get("TEST_DRAIN_SECONDS", "12"))
    sys.exit(main(sys.argv[1:], lambda _parts: HANDLERS, drain_seconds))
