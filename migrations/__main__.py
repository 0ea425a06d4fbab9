"""`python -m migrations [upgrade [REV] | downgrade REV | stamp REV | current]` on DATABASE_URL."""

from __future__ import annotations

import argparse
import sys

from alembic import command
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError

from domain.settings import SettingsError, read_settings
from migrations.config import alembic_config, upgrade_to_head


def main(arguments: list[str]) -> int:
    """Run one command; 0 when it worked."""
    parser = argparse.ArgumentParser(prog="python -m migrations", description=__doc__)
    parser.add_argument(
        "command", nargs="?", default="upgrade", choices=["upgrade", "downgrade", "stamp", "current"]
    )
    parser.add_argument("revision", nargs="?", help="a revision; for upgrade, head unless given")
    options = parser.parse_args(arguments)
    if options.command in ("downgrade", "stamp") and options.revision is None:
        parser.error(f"{options.command} needs a revision")
    try:
        config = alembic_config(read_settings().database_url)
        match options.command:
            case "upgrade":
                upgrade_to_head(config, options.revision or "head")
            case "downgrade":
                command.downgrade(config, options.revision)
            case "stamp":
                command.stamp(config, options.revision)
            case _:
                command.current(config, verbose=True)
    except (SettingsError, CommandError) as problem:
        print(f"migrations: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    except DBAPIError as problem:
        print(f"migrations: {problem.orig}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
