"""What all commands share: the connection, the clock, who acts, and how an answer is printed."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from typer.exceptions import TyperException

from domain.amounts import wire_amount
from domain.database import make_engine, transaction
from domain.errors import Refusal
from domain.logins import Role
from domain.operators.acting import Command, Done, Preview, perform, preview
from domain.operators.audit import Operator
from domain.settings import Settings, SettingsError, read_settings

REFUSED: Final = 1

_encoder: Final = msgspec.json.Encoder(decimal_format="number")

app: Final = typer.Typer(
    name="admin",
    help="What operators see and do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def whoever_types() -> Operator:
    """The operator at a command line: the system's user, who has the database's address."""
    return Operator(name=f"shell:{getpass.getuser()}", role=Role.OPERATOR)


@dataclass
class Shell:
    """One run of one command."""

    clock: Callable[[], datetime]
    prints_json: bool = False
    out: Console = field(default_factory=Console)
    err: Console = field(default_factory=lambda: Console(stderr=True))
    _settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The environment.  Raises SettingsError."""
        if self._settings is None:
            self._settings = read_settings()
        return self._settings

    @property
    def operator(self) -> Operator:
        """Who acts."""
        return whoever_types()

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """An engine on DATABASE_URL."""
        engine = make_engine(self.settings.database_url, pool_size=2, application_name="mana-credits-admin")
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A transaction; jobs that it adds are found by the relay within a second."""
        with self.engine() as engine, transaction(engine) as connection:
            yield connection

    def show(self, value: Any, table: Callable[[], Table] | None = None) -> None:
        """Print a value: as JSON where asked, else as the table."""
        if self.prints_json or table is None:
            self.out.print_json(as_json(value).decode(), indent=2)
        else:
            self.out.print(table())

    def act(self, command: Command, *, reason: str, yes: bool, dry_run: bool = False) -> Done | None:
        """Show what a command would do, ask, do it, print what was done.  None when it was not done."""
        with self.connection() as connection:
            seen = preview(connection, command, by=self.operator, now=self.clock())
        if dry_run or not yes:
            self.show(seen, lambda: preview_table(seen))
        if dry_run:
            return None
        if seen.refused is not None:
            self.fail(f"{seen.refused}: {seen.why}")
        if not yes and not typer.confirm("Do it?", err=True):
            return None
        with self.connection() as connection:
            done = perform(connection, command, by=self.operator, reason=reason, now=self.clock())
        self.show(done, lambda: facts_table(done.outcome, done.facts))
        return done

    def fail(self, words: str) -> None:
        """Say what is wrong, and end."""
        self.err.print(f"admin: {escape(words)}", style="red", highlight=False)
        raise typer.Exit(REFUSED)


_shell: Final[list[Shell]] = []


def shell() -> Shell:
    """This run."""
    return _shell[-1]


@app.callback()
def options(json: bool = typer.Option(False, "--json", help="Print JSON instead of tables.")) -> None:
    """What operators see and do, on DATABASE_URL."""
    shell().prints_json = json


def run(clock: Callable[[], datetime], arguments: Sequence[str] | None = None) -> int:
    """Run the command of `arguments` (those of the process without them); its exit code."""
    _shell.append(Shell(clock))
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except Refusal as refusal:
        meaning = str(refusal) or (type(refusal).__doc__ or "").partition("\n")[0]
        return _said(f"{refusal.code}: {meaning}")
    except SettingsError as error:
        return _said("; ".join(error.problems))
    except OperationalError as error:
        return _said(f"the database does not answer ({type(error.orig).__name__})")
    except typer.Abort:
        return REFUSED
    except TyperException as error:
        return _said(str(error), 2)
    finally:
        _shell.pop()
    return code if isinstance(code, int) else 0


def _said(words: str, code: int = REFUSED) -> int:
    print(f"admin: {words}", file=sys.stderr)  # noqa: T201
    return code


def as_json(value: Any) -> bytes:
    """The value as JSON; amounts are exact numbers."""
    return _encoder.encode(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        case Decimal():
            return wire_amount(value)
        case dict():
            return {str(name): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return value


def cell(value: Any) -> str:
    """A value for a person to read; texts that users can set are no markup, and no control characters."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return f"{wire_amount(value):f}"
        case float():
            return f"{value:.1f}"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        case Enum():
            return str(value.value)
        case dict() | list():
            return cell(as_json(value).decode())
        case _:
            return escape("".join(sign if sign.isprintable() else "·" for sign in str(value)))


def rows_table(title: str, rows: Sequence[Any], columns: Sequence[str]) -> Table:
    """A table of structs, with these fields of theirs."""
    table = Table(title=f"{title} ({len(rows)})", title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(getattr(row, column)) for column in columns))
    return table


def facts_table(title: str, facts: dict[str, Any]) -> Table:
    """Names and values."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in facts.items():
        table.add_row(name, cell(value))
    return table


def preview_table(seen: Preview) -> Table:
    """What is the case, and what would be."""
    says = seen.outcome if seen.refused is None else f"refused: {seen.why}"
    table = Table("", "now", "then", title=f"{seen.action.value}: {escape(says or '')}", title_justify="left")
    for name in dict.fromkeys([*seen.before, *seen.after]):
        before, after = cell(seen.before.get(name)), cell(seen.after.get(name))
        table.add_row(name, before, after, style="bold" if before != after else None)
    return table
