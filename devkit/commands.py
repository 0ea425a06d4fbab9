"""The commands of `./dev`, in one table."""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from devkit import bytecode, runfile
from devkit.check import RUFF, STEPS, check
from devkit.database import database_url
from devkit.detach import down, status, up_detached
from devkit.errors import DevError
from devkit.install import ensure_installed
from devkit.lock import lock
from devkit.paths import LOCK_FILE, ROOT, VENV_PYTHON, data_dir
from devkit.postgres import psql_command
from devkit.screen import say
from devkit.tail import show_logs
from devkit.up import up

INTERRUPTED = 130
TEST_PROCESSES = 5
# Options of pytest that need the terminal, or decide about parallel processes themselves.
SERIAL_OPTIONS = ("-n", "--numprocesses", "--pdb", "--trace", "-s", "--capture=no", "--collect-only", "--co")


@dataclass(frozen=True)
class Command:
    """One command: what it is called with and what it does."""

    usage: str
    what: str
    run: Callable[[list[str]], int]
    installs: bool = True
    """Whether `.venv` must be there first."""


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign is no reason to stop
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(overview())
        return 0
    name, *rest = arguments
    command = COMMANDS.get(name)
    if command is None:
        print(f"dev: no command {name!r}. ./dev alone lists them.", file=sys.stderr)
        return 2
    bytecode.keep(os.environ)
    try:
        if command.installs:
            ensure_installed()
        return command.run(rest)
    except (DevError, PermissionError) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def overview() -> str:
    """The list that `./dev` alone prints."""
    width = max(len(f"{name} {command.usage}") for name, command in COMMANDS.items())
    lines = [
        f"  ./dev {f'{name} {command.usage}':<{width}}  {command.what}" for name, command in COMMANDS.items()
    ]
    return "\n".join(
        [
            "mana-credits, on this machine:\n",
            *lines,
            "\nDATA_DIR (default .data) keeps data and logs; PORT (default 3061) is where the service answers.",
            "DATABASE_URL, REDIS_URL, MANA_AUTH_URL, STRIPE_SECRET_KEY, MANA_NOTIFY_URL: where one is unset,",
            "an embedded server or a simulator is started in its place.",
            "POSTGRES_BIN: the directory with the programs of another PostgreSQL, 15 or newer.",
        ]
    )


def run_module(module: str, *arguments: str, **environment: str) -> int:
    """Run a module of the tree as a developer does; its exit code."""
    defaults = {"ENV": "development", "DATA_DIR": str(data_dir())}
    return subprocess.run(
        [str(VENV_PYTHON), "-m", module, *arguments],
        cwd=ROOT,
        env={**defaults, **os.environ, **environment},
        check=False,
    ).returncode


def _up(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev up", description="Run the service and all it needs.")
    parser.add_argument("--detach", "-d", action="store_true", help="return when it is ready")
    parser.add_argument("--no-logs", action="store_true", help="keep the logs in DATA_DIR/logs only")
    options = parser.parse_args(arguments)
    if options.detach:
        return up_detached(os.environ)
    return up(os.environ, shows_logs=not options.no_logs)


def _test(arguments: list[str]) -> int:
    serial = any(argument.startswith(option) for argument in arguments for option in SERIAL_OPTIONS)
    one_test = any("::" in argument for argument in arguments)
    if serial or one_test:
        return run_module("pytest", *arguments)
    _compile_tests_once()
    return run_module("pytest", "-n", str(TEST_PROCESSES), "--dist", "worksteal", *arguments)


def _compile_tests_once() -> None:
    """Let one process compile the tests and what they import, where otherwise each of several would."""
    marker = ROOT / ".data" / "tests-compiled"
    if marker.exists() and marker.stat().st_mtime > LOCK_FILE.stat().st_mtime:
        return
    say("Compiling the tests")
    # Where it fails, the tests will say why.
    subprocess.run(
        [str(VENV_PYTHON), "-m", "pytest", "--collect-only", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    marker.parent.mkdir(exist_ok=True)
    marker.touch()


def _check(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev check", description="Run what CI runs.")
    names = ", ".join(step.name for step in STEPS)
    parser.add_argument("--only", action="append", default=[], metavar="STEP", help=f"one of: {names}")
    return check(parser.parse_args(arguments).only)


def _bench(arguments: list[str]) -> int:
    return run_module("bench", *arguments)


def _faults(arguments: list[str]) -> int:
    return run_module("tests.faults.rig", *arguments)


def _hosts(arguments: list[str]) -> int:
    return run_module("tests.faults.hosts", *arguments)


def _soak(arguments: list[str]) -> int:
    return run_module("tests.faults.drills", "soak", *arguments)


def _fuzz(arguments: list[str]) -> int:
    return run_module("tests.fuzz", *arguments)


def _drill(arguments: list[str]) -> int:
    is_under_load = arguments[:1] in (["clock"], ["upgrade"])
    module = "tests.faults.drills" if is_under_load else "tests.production.drill"
    return run_module(module, *(arguments or ["restore"]))


def _pgbouncer(arguments: list[str]) -> int:
    if any(not argument.startswith("-") for argument in arguments):
        return run_module("pytest", *arguments, TEST_THROUGH_PGBOUNCER="0")
    return run_module("pytest", "tests/production/test_pgbouncer.py", *arguments)


def _mutants(arguments: list[str]) -> int:
    return run_module("tests.faults.mutants", *arguments)


def _migrate(arguments: list[str]) -> int:
    with database_url() as url:
        return run_module("migrations", *(arguments or ["upgrade"]), DATABASE_URL=url)


def _packages(arguments: list[str]) -> int:
    with database_url() as url:
        return run_module("domain.packages", *(arguments or ["list"]), DATABASE_URL=url)


def _admin(arguments: list[str]) -> int:
    if not arguments or {"--help", "hash-password"} & set(arguments):
        return run_module("nudges.operators", *arguments)
    run = runfile.read(data_dir(os.environ))
    redis = {} if "REDIS_URL" in os.environ or run is None or not run.alive else {"REDIS_URL": run.redis_url}
    with database_url() as url:
        return run_module("nudges.operators", *arguments, **redis, DATABASE_URL=url)


def _invariants(arguments: list[str]) -> int:
    if arguments:
        return run_module("domain.invariants", *arguments[1:], DATABASE_URL=arguments[0])
    with database_url() as url:
        return run_module("domain.invariants", DATABASE_URL=url)


def _adopt(arguments: list[str]) -> int:
    if "--rehearse" not in arguments:
        return run_module("migrations.adoption", *arguments)
    with database_url() as url:
        return run_module("migrations.adoption", *arguments, DATABASE_URL=url)


def _token(arguments: list[str]) -> int:
    if given := os.environ.get("MANA_AUTH_URL"):
        raise DevError(f"MANA_AUTH_URL is {given}: that service makes the tokens.")
    return run_module("simulators.auth", "token", "--data", str(data_dir()), *arguments)


def _psql(arguments: list[str]) -> int:
    with database_url() as url:
        return subprocess.run([*psql_command(url), *arguments], check=False).returncode


def _logs(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev logs", description="Show what the processes have said.")
    parser.add_argument("name", nargs="?", help="one process; all unless given")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--lines", "-n", type=int, default=40, help="lines from before (default 40)")
    options = parser.parse_args(arguments)
    show_logs(data_dir(), options.name, lines=options.lines, follow=options.follow)
    return 0


def _fmt(arguments: list[str]) -> int:
    paths = arguments or ["."]
    fixed = subprocess.run([RUFF, "check", "--fix", *paths], cwd=ROOT, check=False).returncode
    return subprocess.run([RUFF, "format", *paths], cwd=ROOT, check=False).returncode or fixed


def _install(_arguments: list[str]) -> int:
    ensure_installed(force=True)
    return 0


def _lock(_arguments: list[str]) -> int:
    lock()
    return 0


COMMANDS: dict[str, Command] = {
    "up": Command("[--detach]", "start the service and all it needs, and keep it running", _up),
    "down": Command("", "stop it", lambda _: down(os.environ), installs=False),
    "status": Command(
        "", "what runs; exit code 0 when all is well", lambda _: status(os.environ), installs=False
    ),
    "logs": Command("[NAME] [-f]", "what the processes have said", _logs, installs=False),
    "token": Command("--sub USER [--role admin] [--email …] [--ttl SECONDS]", "a token for a user", _token),
    "psql": Command("[ARGUMENTS]", "a shell in the database", _psql),
    "migrate": Command(
        "[upgrade|downgrade REV|stamp REV]", "bring the database to the newest schema", _migrate
    ),
    "adopt": Command(
        "DATABASE_URL [--apply] [--json] | --rehearse", "take a database of the old service over", _adopt
    ),
    "packages": Command("[list|add|change|deactivate|seed]", "what credits are sold for", _packages),
    "admin": Command("[COMMAND] [--json]", "what operators see and do; alone it lists the commands", _admin),
    "invariants": Command("[DATABASE_URL]", "check the facts that must hold in the books", _invariants),
    "test": Command("[PYTEST ARGUMENTS]", "run the tests", _test),
    "check": Command("[--only STEP]", "run what CI runs", _check),
    "bench": Command(
        "[--list] [--only NAME …] [--quick] [--table]", "measure what README's figures come from", _bench
    ),
    "faults": Command("[--minutes N] [--seed S]", "break the whole system under load, and judge it", _faults),
    "hosts": Command("[--minutes N] [--seed S]", "the same on several hosts, which are cut off", _hosts),
    "soak": Command("[--minutes N]", "keep it under load for long, and see that nothing grows", _soak),
    "fuzz": Command(
        "[--requests N] [--seed S]", "ask the whole system anything, with every credential", _fuzz
    ),
    "drill": Command(
        "[restore|debian|clock|upgrade]",
        "under load: restore a backup, set the clock, upgrade; or follow the docs on a bare Debian",
        _drill,
    ),
    "pgbouncer": Command("[TESTS]", "run the service behind a real PgBouncer; or these tests so", _pgbouncer),
    "mutants": Command("[--only TEXT]", "put deliberate bugs into a copy, and see them caught", _mutants),
    "fmt": Command("[PATHS]", "format the code and fix what can be fixed", _fmt),
    "install": Command("", "make .venv again from requirements.lock", _install, installs=False),
    "lock": Command("", "choose versions anew and write requirements.lock", _lock),
}
