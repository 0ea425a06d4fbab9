"""Every environment variable the service reads: its meaning, unit and default.  Read once, at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from domain.environment import Reader
from domain.logins import Login

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

    web_metrics_port: int
    """Without one, the front shows its metrics on its own port."""
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
    """PostgreSQL itself: `DATABASE_DIRECT_URL`, or `DATABASE_URL` where that is not set."""
    pooler_url: str | None = field(repr=False)
    """A pooler of transactions in front of it: `DATABASE_URL` where `DATABASE_DIRECT_URL` is set, else None."""
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
    webhooks_to_local: bool
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


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment.

    Outside development (`ENV` is not `development`) there is no default for a secret.
    Raises SettingsError naming every variable that is missing or malformed.
    """
    read = Reader(environ)
    env = read.choice("ENV", "production", ("development", "production"))
    port = read.number("PORT", 3061, 1, 65535)
    auth_url = read.address("MANA_AUTH_URL", "http://localhost:3001")
    database_url, pooler_url = _databases(read)
    settings = Settings(
        env=cast("Environment", env),
        port=port,
        host=read.text("HOST", "127.0.0.1" if env == "development" else "0.0.0.0"),  # noqa: S104  # nosec B104
        database_url=database_url,
        pooler_url=pooler_url,
        redis_url=read.redis("REDIS_URL", "redis://localhost:6379/0"),
        auth_url=auth_url,
        jwt_issuers=read.listed("JWT_ISSUER", auth_url),
        jwt_audience=read.text("JWT_AUDIENCE", "mana"),
        service_keys=_service_keys(read, env),
        base_url=read.address("BASE_URL", f"http://localhost:{port}"),
        app_url=read.address("APP_URL", "https://mana.how"),
        forwarded_hops=read.number("FORWARDED_HOPS", 0, 0, 8),
        cors_origins=read.listed("CORS_ORIGINS", "http://localhost:5173,http://localhost:5180"),
        stripe_secret_key=read.optional("STRIPE_SECRET_KEY"),
        stripe_webhook_secrets=_webhook_secrets(read, env),
        stripe_api_base=read.optional_address("STRIPE_API_BASE"),
        notify_url=read.optional_address("MANA_NOTIFY_URL"),
        notify_language=cast("Literal['en', 'de']", read.choice("NOTIFY_LANGUAGE", "en", ("en", "de"))),
        pause_notice=read.flag("PAUSE_NOTICE", "on"),
        renewal_reminder_days=read.number("RENEWAL_REMINDER_DAYS", 3, 0, 30),
        webhooks_to_local=_webhooks_to_local(read, env),
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


def _databases(read: Reader) -> tuple[str, str | None]:
    """PostgreSQL itself, and the pooler in front of it, if there is one."""
    url = read.postgres("DATABASE_URL", "postgresql://postgres@localhost:5432/mana_credits")
    if read.optional("DATABASE_DIRECT_URL") is None:
        return url, None
    return read.postgres("DATABASE_DIRECT_URL", ""), url


def _telemetry(read: Reader) -> Telemetry:
    telemetry = Telemetry(
        web_metrics_port=read.number("WEB_METRICS_PORT", 0, 0, 65535),
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


def _service_keys(read: Reader, env: str) -> tuple[str, ...]:
    if env == "development":
        return read.listed("MANA_SERVICE_KEY", DEVELOPMENT_SERVICE_KEY)
    keys = read.listed("MANA_SERVICE_KEY", "")
    if not keys:
        read.problems.append("MANA_SERVICE_KEY is missing")
    elif WELL_KNOWN_SERVICE_KEYS.intersection(keys):
        read.problems.append("MANA_SERVICE_KEY is a well-known default; set a secret of your own")
    return keys


def _webhooks_to_local(read: Reader, env: str) -> bool:
    wanted = read.flag("WEBHOOKS_TO_LOCAL", "off")
    if wanted and env != "development":
        read.problems.append("WEBHOOKS_TO_LOCAL=on is for development: it lets webhooks reach this network")
    return wanted


def _webhook_secrets(read: Reader, env: str) -> tuple[str, ...]:
    if env == "development":
        return read.listed("STRIPE_WEBHOOK_SECRET", DEVELOPMENT_WEBHOOK_SECRET)
    secrets = read.listed("STRIPE_WEBHOOK_SECRET", "")
    if not secrets:
        read.problems.append("STRIPE_WEBHOOK_SECRET is missing")
    elif DEVELOPMENT_WEBHOOK_SECRET in secrets:
        read.problems.append("STRIPE_WEBHOOK_SECRET is a well-known default; set the endpoint's own")
    return secrets
