"""The whole system, a process for each part, with a network between them that can be made bad."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from devkit import ports
from devkit.child import Child
from devkit.paths import ROOT
from devkit.plan import answers
from devkit.postgres import Postgres
from devkit.program import Program
from devkit.valkey import Valkey
from tests.faults.rig.proxy import Link
from tests.servers import copy_of_golden
from tests.support.client import SERVICE_KEY
from tests.support.forking import start_module
from tests.support.process import process_environment

WEBHOOK_SECRET = "whsec_of_the_rig"
DELIVERIES_AT_ONCE = 4
"""More than one: an event that nobody answers holds up no other, and their order is left to chance, as at Stripe."""
WEBS = ("web-1", "web-2")
WORKERS = ("worker-1", "worker-2")
SCHEDULERS = ("scheduler-1", "scheduler-2")
SERVICE = (*WEBS, *WORKERS, *SCHEDULERS)


class Member(Protocol):
    """A part of the system that runs as processes.  Every call blocks until it is done."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def pids(self) -> list[int]: ...


class ForkedChild(Child):
    """The same, forked from a process that has imported what it needs."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        _, _, module, *arguments = program.argv
        environment = {name: value for name, value in program.env.items() if name != "PYTHONPATH"}
        process: Any = start_module(module, environment, log, arguments=arguments, has_own_session=True)
        self._process = process


class Module:
    """`python -m <module>`; what it says is added to `log`."""

    def __init__(self, program: Program, log: Path, made: Callable[[Program, Path], Child] = Child) -> None:
        self.program = program
        self._log = log
        self._made = made
        self._child: Child | None = None
        self._said_before = 0

    def says(self, text: str) -> bool:
        """Whether it said that since it was started last."""
        with self._log.open("rb") as log:
            log.seek(self._said_before)
            return text.encode() in log.read()

    def start(self) -> None:
        """Start it; returns at once, as a supervisor does."""
        if self._child is None:
            self._said_before = self._log.stat().st_size if self._log.exists() else 0
            self._child = self._made(self.program, self._log)

    def wait_ready(self) -> None:
        """Wait until it answers.  Raises DevError with the end of its log."""
        assert self._child is not None
        self._child.wait_ready()

    def stop(self) -> None:
        """SIGTERM, as a deployment does."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """kill -9."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def pids(self) -> list[int]:
        """Its processes, or none while it is down."""
        return [] if self._child is None or not self._child.running else _with_children(self._child.pid)

    @property
    def has_died(self) -> bool:
        """Whether it ended by itself."""
        return self._child is not None and not self._child.running


class Server:
    """PostgreSQL or Valkey."""

    def __init__(self, server: Postgres | Valkey) -> None:
        self.server = server
        self._runs = False

    def start(self) -> None:
        if not self._runs:
            self.server.start()
            self._runs = True

    def stop(self) -> None:
        self.server.stop()
        self._runs = False

    def kill(self) -> None:
        self.server.kill()
        self._runs = False

    def pids(self) -> list[int]:
        child = self.server._child
        return [] if child is None or not child.running else _with_children(child.pid)


def _with_children(pid: int) -> list[int]:
    # Not the process group: each process of PostgreSQL's leads one of its own.
    found = [pid]
    with suppress(FileNotFoundError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += _with_children(int(child))
    return found


def send_all(pids: list[int], what: signal.Signals) -> None:
    """Send a signal to each; one that is gone meanwhile is no matter."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


@dataclass
class House:
    """Its members and links by name, and the addresses that its callers need."""

    home: Path
    postgres: Postgres
    members: dict[str, Member] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    child: Callable[[Program, Path], Child] = Child
    """How processes of ours are started."""

    def link(self, name: str, *targets: int) -> int:
        """Make a link; the port that leads through it."""
        self.links[name] = Link(name, targets)
        return self.links[name].port

    def module(
        self,
        name: str,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        is_ready: Callable[[int], bool] | None,
        within: tuple[str, ...] = (),
    ) -> Module:
        """Add a process of ours; `within` is a command that runs it elsewhere."""
        argv = (sys.executable, "-m", module, *arguments)
        variables = {"PYTHONPATH": str(ROOT), **process_environment(environment)}
        program = Program(name, argv, variables, is_ready, cwd=ROOT, within=within)
        made = Module(program, self.home / f"{name}.log", self.child)
        self.members[name] = made
        return made

    def wait_ready(self) -> None:
        """Wait until every process of ours answers."""
        for member in self.members.values():
            if isinstance(member, Module):
                member.wait_ready()

    def mend(self) -> None:
        """Everything good again: nothing cut off, paused or down."""
        for link in self.links.values():
            link.heal()
        for member in self.members.values():
            send_all(member.pids(), signal.SIGCONT)
        for name, member in self.members.items():
            self.revive(name)
            member.start()

    def revive(self, name: str) -> bool:
        """Start a process of ours again that ended by itself, as a supervisor does; whether it had to be."""
        member = self.members[name]
        if not isinstance(member, Module) or not member.has_died:
            return False
        member.stop()
        member.start()
        return True


def service_environment(
    *, postgres: str, valkey: str, stripe: str, auth: str, notify: str, more: Mapping[str, str]
) -> dict[str, str]:
    """The environment of one process of the service: its own ways to everything, as URLs."""
    return {
        "ENV": "development",
        "LOG_FORMAT": "json",
        "DATABASE_URL": postgres,
        "REDIS_URL": valkey,
        "MANA_AUTH_URL": auth,
        "MANA_SERVICE_KEY": SERVICE_KEY,
        "MANA_NOTIFY_URL": notify,
        "STRIPE_SECRET_KEY": "sk_test_rig",
        "STRIPE_API_BASE": stripe,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "CORS_ORIGINS": "https://mana.how",
        "FORWARDED_HOPS": "1",
        **more,
    }


def furnish(
    home: Path,
    more: Mapping[str, str] = MappingProxyType({}),
    child: Callable[[Program, Path], Child] = Child,
) -> House:
    """Make all members and links; nothing runs yet but PostgreSQL and Valkey, whose ports must be known.

    `more` are variables of the service's processes.
    """
    house = House(home, copy_of_golden(home / "postgres", durable=True), child=child)
    valkey = Valkey(home / "valkey")
    for name, server in (("postgres", house.postgres), ("valkey", valkey)):
        house.members[name] = Server(server)
        house.members[name].start()
    web_ports = {name: ports.choose() for name in WEBS}
    simulators = {name: ports.choose() for name in ("auth", "stripe", "notify")}
    through = {
        name: f"http://127.0.0.1:{house.link(f'service>{name}', port)}" for name, port in simulators.items()
    }
    webhooks = house.link("stripe>web", *web_ports.values())
    add_simulators(house, simulators, webhooks=f"http://127.0.0.1:{webhooks}", issuer=through["auth"])
    for who in SERVICE:
        database = house.link(f"{who}>postgres", house.postgres.port)
        redis = house.link(f"{who}>valkey", valkey.port)
        variables = service_environment(
            postgres=house.postgres.url().replace(f":{house.postgres.port}/", f":{database}/"),
            valkey=valkey.url().replace(f":{valkey.port}/", f":{redis}/"),
            more={**more, **({"PORT": str(web_ports[who]), "HOST": "127.0.0.1"} if who in WEBS else {})},
            **through,
        )
        add_service(house, who, variables)
        if who in WEBS:
            house.urls[who] = f"http://127.0.0.1:{house.link(f'clients>{who}', web_ports[who])}"
    return house


def add_service(house: House, who: str, environment: Mapping[str, str], within: tuple[str, ...] = ()) -> None:
    """Add a process of the service, which is ready when it says so, or answers."""
    kind = who.partition("-")[0]
    if kind == "web":
        is_ready = answers(f"http://{environment['HOST']}:{environment['PORT']}/health")
    else:
        is_ready = _says(house, who, f"{kind}_ready")
    module = "workers" if kind == "worker" else kind
    house.module(who, module, environment=environment, is_ready=is_ready, within=within)


def add_simulators(
    house: House,
    chosen: Mapping[str, int],
    *,
    webhooks: str,
    issuer: str,
    host: str = ports.LOOPBACK,
    within: tuple[str, ...] = (),
) -> None:
    """Add those of auth, Stripe and notify, at their ports of `host`.

    `webhooks` is where Stripe finds the service; what the auth simulator signs is accepted from `issuer`, the
    address by which the service knows it.
    """
    more = {
        "auth": ("--issuer", issuer),
        "notify": (),
        "stripe": (
            "--webhook-url",
            f"{webhooks}/api/v1/webhooks/stripe",
            "--webhook-secret",
            WEBHOOK_SECRET,
            "--parallel",
            str(DELIVERIES_AT_ONCE),
        ),
    }
    for name, port in chosen.items():
        url = f"http://{host}:{port}"
        house.urls[name] = url
        house.module(
            name,
            f"simulators.{name}",
            "serve",
            *("--host", host, "--port", str(port), "--data", str(house.home / name)),
            *more[name],
            environment={},
            is_ready=answers(f"{url}/health"),
            within=within,
        )
        (house.home / name).mkdir()
    house.urls["issuer"] = issuer


def _says(house: House, who: str, text: str) -> Callable[[int], bool]:
    def check(_pid: int) -> bool:
        member = house.members[who]
        assert isinstance(member, Module)
        return member.says(text)

    return check


@asynccontextmanager
async def running(home: Path, furnished: Callable[[Path], House] = furnish) -> AsyncIterator[House]:
    """The system, ready; gone at the end, whatever happened to it."""
    house = furnished(home)
    async with AsyncExitStack() as stack:
        for member in house.members.values():
            stack.callback(_end, member)
        for link in house.links.values():
            await link.open()
            stack.push_async_callback(link.close)
        environment = {**process_environment({}), "ENV": "development", "DATABASE_URL": house.postgres.url()}
        seed = [sys.executable, "-m", "domain.packages", "seed"]
        subprocess.run(seed, cwd=ROOT, env=environment, check=True, capture_output=True)
        for member in house.members.values():
            member.start()
        house.wait_ready()
        yield house


def _end(member: Member) -> None:
    # A paused process does not hear that it shall stop.
    send_all(member.pids(), signal.SIGCONT)
    if isinstance(member, Server):
        member.stop()
    else:
        member.kill()
