"""Every environment variable the service reads: its meaning, unit and default.  Read once, at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from domain.logins import Login, MalformedLogins, parse_logins

WELL_KNOWN_SERVICE_KEYS: Final = frozenset({"dev-service-key", "changeme", "secret"})
"""Keys printed in examples and in the old service's source; worthless as a secret."""

DEVELOPMENT_SERVICE_KEY: Final = "dev-service-key"
DEVELOPMENT_WEBHOOK_SECRET: Final = "whsec_development"  # noqa: S105 - refused outside development

Environment = Literal["development", "production"]


class SettingsError(Exception):
    """The environment does not describe a service that may start.  Names each variable at fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Telemetry:
    """What machines are told beside logs.  A port of 0 means none."""

    worker_metrics_port: int
    scheduler_metrics_port: int
    log_user_ids: Literal["plain", "hashed"]
    log_user_ids_key: str | None = field(repr=False)
    traces: bool


@dataclass(frozen=True)
class Settings:
    """The service's configuration.  Times are in seconds, sizes in bytes, unless the name says otherwise."""

    env: Environment
    port: int
    host: str
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    auth_url: str
    jwt_issuers: tuple[str, ...]
    jwt_audience: str
    service_keys: tuple[str, ...] = field(repr=False)
    base_url: str
    app_url: str
    forwarded_hops: int
    cors_origins: tuple[str, ...]
    stripe_secret_key: str | None = field(repr=False)
    stripe_webhook_secrets: tuple[str, ...] = field(repr=False)
    stripe_api_base: str | None
    notify_url: str | None
    notify_language: Literal["en", "de"]
    pause_notice: bool
    renewal_reminder_days: int
    web_processes: int
    worker_processes: int
    worker_threads: int
    ops_users: tuple[Login, ...]
    ops_adjust_max: int
    log_format: Literal["json", "console"]
    log_level: str
    telemetry: Telemetry

    @property
    def is_development(self) -> bool:
        """Whether defaults meant for a developer's machine are allowed."""
        return self.env == "development"


class _Reader:
    """Takes variables from a mapping and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self.environ.get(name, "").strip() or default

    def optional(self, name: str) -> str | None:
        return self.environ.get(name, "").strip() or None

    def listed(self, name: str, default: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(name, default).split(",") if part.strip())

    def number(self, name: str, default: int, low: int, high: int) -> int:
        raw = self.text(name, str(default))
        if not raw.isascii() or not raw.isdigit() or len(raw) > 9 or not low <= int(raw) <= high:
            self.problems.append(f"{name} must be a whole number from {low} to {high}")
            return default
        return int(raw)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            self.problems.append(f"{name} must be one of {', '.join(allowed)}")
            return default
        return value

    def flag(self, name: str, default: str) -> bool:
        return self.choice(name, default, ("on", "off")) == "on"

    def logins(self, name: str) -> tuple[Login, ...]:
        try:
            return parse_logins(self.text(name, ""))
        except MalformedLogins as error:
            self.problems.append(f"{name} {error}")
            return ()

    def service_keys(self, env: str) -> tuple[str, ...]:
        if env == "development":
            return self.listed("MANA_SERVICE_KEY", DEVELOPMENT_SERVICE_KEY)
        keys = self.listed("MANA_SERVICE_KEY", "")
        if not keys:
            self.problems.append("MANA_SERVICE_KEY is missing")
        elif WELL_KNOWN_SERVICE_KEYS.intersection(keys):
            self.problems.append("MANA_SERVICE_KEY is a well-known default; set a secret of your own")
        return keys

    def webhook_secrets(self, env: str) -> tuple[str, ...]:
        if env == "development":
            return self.listed("STRIPE_WEBHOOK_SECRET", DEVELOPMENT_WEBHOOK_SECRET)
        secrets = self.listed("STRIPE_WEBHOOK_SECRET", "")
        if not secrets:
            self.problems.append("STRIPE_WEBHOOK_SECRET is missing")
        elif DEVELOPMENT_WEBHOOK_SECRET in secrets:
            self.problems.append("STRIPE_WEBHOOK_SECRET is a well-known default; set the endpoint's own")
        return secrets


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment.

    Outside development (`ENV` is not `development`) there is no default for a secret.
    Raises SettingsError naming every variable that is missing or malformed.
    """
    read = _Reader(environ)
    env = read.choice("ENV", "production", ("development", "production"))
    port = read.number("PORT", 3061, 1, 65535)
    auth_url = read.text("MANA_AUTH_URL", "http://localhost:3001").rstrip("/")
    base_url = read.text("BASE_URL", f"http://localhost:{port}").rstrip("/")
    settings = Settings(
        env=cast("Environment", env),
        port=port,
        host=read.text("HOST", "127.0.0.1" if env == "development" else "0.0.0.0"),  # noqa: S104
        database_url=read.text("DATABASE_URL", "postgresql://postgres@localhost:5432/mana_credits"),
        redis_url=read.text("REDIS_URL", "redis://localhost:6379/0"),
        auth_url=auth_url,
        jwt_issuers=read.listed("JWT_ISSUER", auth_url),
        jwt_audience=read.text("JWT_AUDIENCE", "mana"),
        service_keys=read.service_keys(env),
        base_url=base_url,
        app_url=read.text("APP_URL", "https://mana.how").rstrip("/"),
        forwarded_hops=read.number("FORWARDED_HOPS", 0, 0, 8),
        cors_origins=read.listed("CORS_ORIGINS", "http://localhost:5173,http://localhost:5180"),
        stripe_secret_key=read.optional("STRIPE_SECRET_KEY"),
        stripe_webhook_secrets=read.webhook_secrets(env),
        stripe_api_base=read.optional("STRIPE_API_BASE"),
        notify_url=(read.optional("MANA_NOTIFY_URL") or "").rstrip("/") or None,
        notify_language=cast("Literal['en', 'de']", read.choice("NOTIFY_LANGUAGE", "en", ("en", "de"))),
        pause_notice=read.flag("PAUSE_NOTICE", "on"),
        renewal_reminder_days=read.number("RENEWAL_REMINDER_DAYS", 3, 0, 30),
        web_processes=read.number("WEB_PROCESSES", 1, 1, 64),
        worker_processes=read.number("WORKER_PROCESSES", 1, 1, 64),
        worker_threads=read.number("WORKER_THREADS", 8, 1, 64),
        ops_users=read.logins("OPS_USERS"),
        ops_adjust_max=read.number("OPS_ADJUST_MAX", 10_000, 0, 100_000_000),
        log_format=cast(
            "Literal['json', 'console']",
            read.choice("LOG_FORMAT", "console" if env == "development" else "json", ("json", "console")),
        ),
        log_level=read.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        telemetry=_telemetry(read),
    )
    if read.problems:
        raise SettingsError(read.problems)
    return settings


def _telemetry(read: _Reader) -> Telemetry:
    telemetry = Telemetry(
        worker_metrics_port=read.number("WORKER_METRICS_PORT", 0, 0, 65535),
        scheduler_metrics_port=read.number("SCHEDULER_METRICS_PORT", 0, 0, 65535),
        log_user_ids=cast(
            "Literal['plain', 'hashed']", read.choice("LOG_USER_IDS", "plain", ("plain", "hashed"))
        ),
        log_user_ids_key=read.optional("LOG_USER_IDS_KEY"),
        traces=read.flag("TRACES", "off"),
    )
    if telemetry.log_user_ids == "hashed" and telemetry.log_user_ids_key is None:
        read.problems.append("LOG_USER_IDS_KEY is missing: LOG_USER_IDS=hashed needs a secret of your own")
    return telemetry
