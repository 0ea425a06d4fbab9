"""`python -m domain.operators overview | jobs | person | adjust | …`, on DATABASE_URL; `--help` lists them all."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from domain.operators.shell import acting, looking, webhooks
from domain.operators.shell.frame import app, run


def main() -> int:
    """Run one command; 1 when it was refused, 2 when it was called wrongly."""
    looking.add_to(app)
    acting.add_to(app)
    webhooks.add_to(app)
    return run(lambda: datetime.now(UTC))


if __name__ == "__main__":
    sys.exit(main())
