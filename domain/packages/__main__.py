"""`python -m domain.packages list | add | change | deactivate | seed`, on DATABASE_URL; changes are audited."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from uuid import UUID

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import Connection

from domain import packages
from domain.database import make_engine, transaction
from domain.errors import Refusal
from domain.operators import shelving
from domain.operators.audit import NO_REASON
from domain.operators.shell.frame import whoever_types
from domain.packages import (
    CREDITS_MAX,
    PRICE_EURO_CENTS_MAX,
    PRICE_EURO_CENTS_MIN,
    SORT_ORDER_MAX,
    Changes,
    NewPackage,
    Package,
)
from domain.settings import read_settings


def main(arguments: list[str]) -> int:
    """Run one command and print the packages it was about; 1 when it was refused."""
    options = _parser().parse_args(arguments)
    engine = make_engine(read_settings().database_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            shown = _run(connection, options, datetime.now(UTC))
    except Refusal as refusal:
        meaning = (type(refusal).__doc__ or "").partition("\n")[0]
        print(f"packages: {refusal.code}: {meaning}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        engine.dispose()
    Console().print(_table(shown))
    return 0


def _run(connection: Connection, options: argparse.Namespace, now: datetime) -> list[Package]:
    by = whoever_types()
    match options.command:
        case "add":
            new = NewPackage(
                name=options.name,
                credits=options.credits,
                price_euro_cents=options.price,
                description=options.description,
                stripe_price_id=options.stripe_price,
                sort_order=options.sort_order or 0,
            )
            reason = options.reason
            return [shelving.create_package(connection, new, by=by, reason=reason, now=now)]
        case "change":
            changes = Changes(
                name=options.name,
                credits=options.credits,
                price_euro_cents=options.price,
                description=options.description,
                stripe_price_id=options.stripe_price,
                sort_order=options.sort_order,
                active=True if options.activate else None,
            )
            changed = shelving.change_package(
                connection, options.id, changes, by=by, reason=options.reason, now=now
            )
            return [changed]
        case "deactivate":
            changed = shelving.deactivate_package(
                connection, options.id, by=by, reason=options.reason, now=now
            )
            return [changed]
        case "seed":
            packages.seed(connection, now=now)
    return packages.all_packages(connection)


def _table(shown: list[Package]) -> Table:
    table = Table(Column("id", no_wrap=True), "name", "credits", "price", "for sale", "order", "at Stripe")
    for package in shown:
        table.add_row(
            str(package.id),
            package.name,
            str(package.credits),
            f"€{package.price_euro_cents / 100:.2f}",
            "yes" if package.active else "no",
            str(package.sort_order),
            package.stripe_price_id or "",
        )
    return table


def _whole(low: int, high: int) -> type[int]:
    def parse(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
        return number

    return parse  # type: ignore[return-value]  # argparse calls it as it calls int


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="packages", description="The packages of credits for sale.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is and was for sale")
    commands.add_parser("seed", help="add the packages of a developer's machine, where they are missing")
    add = commands.add_parser("add", help="make a package, for sale at once")
    change = commands.add_parser("change", help="change one; not what a sold one costs or gives")
    for command, is_needed in ((add, True), (change, False)):
        command.add_argument("--name", required=is_needed)
        command.add_argument("--credits", type=_whole(1, CREDITS_MAX), required=is_needed)
        command.add_argument(
            "--price",
            type=_whole(PRICE_EURO_CENTS_MIN, PRICE_EURO_CENTS_MAX),
            required=is_needed,
            metavar="CENTS",
            help="in euro cents",
        )
        command.add_argument("--description")
        command.add_argument("--stripe-price", metavar="PRICE_ID", help="a price in the Stripe account")
        command.add_argument("--sort-order", type=_whole(-SORT_ORDER_MAX, SORT_ORDER_MAX))
    change.add_argument("--activate", action="store_true", help="back on the shelf")
    deactivate = commands.add_parser("deactivate", help="take one off the shelf")
    for command in (change, deactivate):
        command.add_argument("id", type=UUID)
    for command in (add, change, deactivate):
        command.add_argument("--reason", default=NO_REASON, help="why, for the audit")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
