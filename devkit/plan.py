"""What `./dev up` runs: which processes, in which environment, and how to know that they answer."""

import http.client
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devkit import ports
from devkit.errors import DevError
from devkit.paths import ROOT, VENV_PYTHON, data_dir, has_module
from devkit.postgres import Postgres
from devkit.program import Program
from devkit.valkey import Valkey

DEFAULT_PORT = 3061
# Both are refused by the service itself outside development.
SERVICE_KEY = "dev-service-key"
WEBHOOK_SECRET = "whsec_development"  # noqa: S105  # as above
STRIPE_KEY = "sk_test_simulator"
ASK_TIMEOUT_SECONDS = 1.5


@dataclass(frozen=True)
class Service:
    """One process of the table: a module of ours, run with `python -m`."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    health_path: str | None = None
    """Answers 200 when the process is ready; None where there is nothing to ask."""
    url: str | None = None


@dataclass
class Plan:
    """Everything one `./dev up` runs."""

    data_dir: Path
    port: int
    environment: dict[str, str]
    """For every child; complete once the embedded servers are prepared."""
    postgres: Postgres | None
    valkey: Valkey | None
    simulators: list[Service]
    services: list[Service]
    """In the order of starting; they stop in the opposite one."""
    urls: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def program(self, service: Service) -> Program:
        """The command that runs one process of the table."""
        is_ready = None
        if service.health_path is not None and service.url is not None:
            is_ready = answers(service.url + service.health_path)
        return self.python(service.name, service.module, *service.arguments, is_ready=is_ready)

    def python(
        self, name: str, module: str, *arguments: str, is_ready: Callable[[int], bool] | None = None
    ) -> Program:
        """The command that runs a module of the tree in the plan's environment."""
        return Program(
            name,
            (str(VENV_PYTHON), "-m", module, *arguments),
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            is_ready=is_ready,
            cwd=ROOT,
        )


def make_plan(environ: Mapping[str, str]) -> Plan:
    """Decide what to run here.  A variable that names something outside is passed on, and nothing started for it.

    Raises DevError when PORT is no port or taken.
    """
    data = data_dir(environ)
    environment = {**environ, "DATA_DIR": str(data)}
    _default(environment, "ENV", "development")
    _default(environment, "MANA_SERVICE_KEY", SERVICE_KEY)
    port = _service_port(environment)
    environment["PORT"] = str(port)
    plan = Plan(
        data_dir=data,
        port=port,
        environment=environment,
        postgres=None if environment.get("DATABASE_URL") else Postgres(data / "postgres"),
        valkey=None if environment.get("REDIS_URL") else Valkey(data / "valkey"),
        simulators=[],
        services=_services(f"http://127.0.0.1:{port}"),
    )
    plan.urls |= {"service": plan.url, "docs": f"{plan.url}/docs"}
    plan.ports["web"] = port
    for variable, simulator in (
        ("MANA_AUTH_URL", _auth),
        ("STRIPE_SECRET_KEY", _stripe),
        ("MANA_NOTIFY_URL", _notify),
    ):
        if not environment.get(variable):
            _add(plan, simulator)
    return plan


def _services(url: str) -> list[Service]:
    table = [
        Service("web", "web", health_path="/ready", url=url),
        Service("workers", "workers"),
        Service("scheduler", "scheduler"),
    ]
    # A room that is not built yet is left out.
    return [service for service in table if has_module(service.module)]


def _auth(plan: Plan, port: int, url: str) -> Service:
    plan.environment["MANA_AUTH_URL"] = url
    arguments = ["serve", "--port", str(port), "--data", str(plan.data_dir)]
    # The service accepts other issuers and audiences when it is told so: tokens must match.
    if issuers := plan.environment.get("JWT_ISSUER"):
        arguments += ["--issuer", issuers.split(",")[0].strip()]
    if audience := plan.environment.get("JWT_AUDIENCE"):
        arguments += ["--audience", audience]
    return Service("auth", "simulators.auth", tuple(arguments), "/health", url)


def _stripe(plan: Plan, port: int, url: str) -> Service:
    _default(plan.environment, "STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
    secret = plan.environment["STRIPE_WEBHOOK_SECRET"].split(",")[0].strip()
    plan.environment |= {"STRIPE_SECRET_KEY": STRIPE_KEY, "STRIPE_API_BASE": url}
    arguments = ("serve", "--port", str(port), "--data", str(plan.data_dir), "--public-url", url)
    webhooks = ("--webhook-url", f"{plan.url}/api/v1/webhooks/stripe", "--webhook-secret", secret)
    return Service("stripe", "simulators.stripe", arguments + webhooks, "/health", url)


def _notify(plan: Plan, port: int, url: str) -> Service:
    plan.environment["MANA_NOTIFY_URL"] = url
    return Service(
        "notify",
        "simulators.notify",
        ("serve", "--port", str(port), "--data", str(plan.data_dir)),
        "/health",
        url,
    )


def _add(plan: Plan, simulator: Callable[[Plan, int, str], Service]) -> None:
    """Add a simulator at its remembered port, if the tree has it."""
    name = simulator.__name__.removeprefix("_")
    if has_module(f"simulators.{name}"):
        port = ports.remembered(plan.data_dir / "ports" / name)
        service = simulator(plan, port, f"http://127.0.0.1:{port}")
        plan.simulators.append(service)
        plan.ports[name] = port
        plan.urls[name] = f"http://127.0.0.1:{port}"


def _service_port(environment: Mapping[str, str]) -> int:
    text = environment.get("PORT") or str(DEFAULT_PORT)
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise DevError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    port = int(text)
    if not ports.is_free(port):
        raise DevError(
            f"Port {port} is taken by another program. Choose another with PORT, as in: PORT={port + 1} ./dev up"
        )
    return port


def _default(environment: dict[str, str], name: str, value: str) -> None:
    """Set a variable that is unset or empty."""
    if not environment.get(name):
        environment[name] = value


def answers(url: str) -> Callable[[int], bool]:
    """A readiness check: whether a GET of `url` is answered with 200."""
    # No proxy for the loopback interface, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def check(_pid: int) -> bool:
        try:
            with opener.open(url, timeout=ASK_TIMEOUT_SECONDS) as response:
                return bool(response.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    return check
