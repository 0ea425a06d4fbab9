"""`python -m migrations.adoption [DATABASE_URL] [--apply] [--json]`: take a database of the old service over.

Without `--apply` it reads and reports, and changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys

import msgspec
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from domain.environment import Reader
from migrations.adoption.reading import read
from migrations.adoption.rehearsal import rehearse
from migrations.adoption.running import CannotAdopt, adopt, adoption_engine, state_of
from migrations.adoption.showing import show_report, show_verdict, shown_progress


def main(arguments: list[str]) -> int:
    """Run the command; 1 when it could not be done or did not hold."""
    options = _options(arguments)
    console = Console(stderr=options.json)
    try:
        if options.rehearse:
            return rehearse(
                options.database_url, people=options.users, entries=options.entries, keep=options.keep
            )
        return _adopt(console, options.database_url, applies=options.apply, as_json=options.json)
    except CannotAdopt as problem:
        print(f"adopt: {problem}", file=sys.stderr)  # noqa: T201
    except DBAPIError as problem:
        print(f"adopt: {problem.orig}", file=sys.stderr)  # noqa: T201
        print("adopt: what is done stays done; the same command goes on from there", file=sys.stderr)  # noqa: T201
    return 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m migrations.adoption", description="Take a database of the old service over."
    )
    parser.add_argument(
        "database_url",
        nargs="?",
        metavar="DATABASE_URL",
        help="postgresql://…; unless given, DATABASE_DIRECT_URL or DATABASE_URL of the environment",
    )
    parser.add_argument("--apply", action="store_true", help="migrate; without it the database is only read")
    parser.add_argument("--json", action="store_true", help="the report as JSON on the standard output")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="generate an old database beside the given one, adopt it, killed once, and check it",
    )
    parser.add_argument("--users", type=int, default=1_000_000, help="of the rehearsal (default 1,000,000)")
    parser.add_argument("--entries", type=int, default=5_000_000, help="of the rehearsal (default 5,000,000)")
    parser.add_argument("--keep", action="store_true", help="keep the rehearsal's database")
    options = parser.parse_args(arguments)
    options.database_url = _database(options.database_url, parser)
    if options.users < 1 or options.entries < options.users:
        parser.error("a rehearsal needs at least one user, and an entry for each")
    return options


def _database(given: str | None, parser: argparse.ArgumentParser) -> str:
    """The database that was given, or that of the environment; never one behind a pooler."""
    read = Reader(os.environ if given is None else {"DATABASE_URL": given})
    name = "DATABASE_DIRECT_URL" if read.optional("DATABASE_DIRECT_URL") else "DATABASE_URL"
    if read.optional(name) is None and not read.problems:
        parser.error("say which database: DATABASE_URL")
    url = read.postgres(name, "")
    if read.problems:
        parser.error("; ".join(read.problems))
    return url


def _adopt(console: Console, database_url: str, *, applies: bool, as_json: bool) -> int:
    engine = adoption_engine(database_url)
    try:
        match state_of(engine):
            case "ours":
                console.print("This database is ours already; there is nothing to adopt.")
                return 0
            case "under way":
                console.print("An adoption of this database has begun.")
                if not applies:
                    console.print("`--apply` goes on with it.")
                    return 1
            case _:
                with console.status("reading") as status:
                    report = read(engine, lambda what: status.update(f"reading {what}"))
                if as_json:
                    print(msgspec.json.format(msgspec.json.encode(report)).decode())  # noqa: T201
                else:
                    show_report(console, report)
                if not applies:
                    console.print("\nNothing was changed. `--apply` adopts it; stop the old service first.")
                    return 0
                if report.in_the_way:
                    raise CannotAdopt(f"drop these views first: {', '.join(report.in_the_way)}")
        with shown_progress(console) as told:
            verdict = adopt(engine, database_url, told)
        show_verdict(console, verdict)
        return 0 if verdict.holds else 1
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
