"""The environment: defaults for a developer, none for a secret outside development, every problem named."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.environment import FILE_BYTES_MAX, MAY_BE_FILES
from domain.settings import (
    DEVELOPMENT_SERVICE_KEY,
    DEVELOPMENT_WEBHOOK_SECRET,
    WELL_KNOWN_SERVICE_KEYS,
    SettingsError,
    read_settings,
)

SECRETS = {"MANA_SERVICE_KEY": "a-secret-of-our-own", "STRIPE_WEBHOOK_SECRET": "whsec_of_our_own"}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        read_settings(environ)
    for problem in refusal.value.problems:
        assert problem in str(refusal.value)
    return refusal.value.problems


def test_development_needs_nothing() -> None:
    settings = read_settings({"ENV": "development"})
    assert settings.is_development
    assert settings.service_keys == (DEVELOPMENT_SERVICE_KEY,)
    assert settings.stripe_webhook_secrets == (DEVELOPMENT_WEBHOOK_SECRET,)


def test_the_contracts_defaults() -> None:
    settings = read_settings(SECRETS)
    assert (settings.port, settings.base_url) == (3061, "http://localhost:3061")
    assert settings.auth_url == "http://localhost:3001"
    assert (settings.jwt_issuers, settings.jwt_audience) == (("http://localhost:3001",), "mana")
    assert settings.cors_origins == ("http://localhost:5173", "http://localhost:5180")
    assert (settings.stripe_secret_key, settings.notify_url) == (None, None)


def test_without_env_it_is_production() -> None:
    assert not read_settings(SECRETS).is_development


def test_every_missing_secret_is_named() -> None:
    assert problems({}) == ["MANA_SERVICE_KEY is missing", "STRIPE_WEBHOOK_SECRET is missing"]


@pytest.mark.parametrize("missing", sorted(SECRETS))
@pytest.mark.parametrize("value", ["", "  ", ",", " , "])
def test_an_empty_secret_is_a_missing_one(missing: str, value: str) -> None:
    assert problems({**SECRETS, missing: value}) == [f"{missing} is missing"]


@pytest.mark.parametrize("default", sorted(WELL_KNOWN_SERVICE_KEYS))
@pytest.mark.parametrize("beside", ["{}", " {} ", "a-secret-of-our-own,{}", "{},a-secret-of-our-own"])
def test_a_well_known_service_key_is_refused_outside_development(default: str, beside: str) -> None:
    [problem] = problems({**SECRETS, "MANA_SERVICE_KEY": beside.format(default)})
    assert problem.startswith("MANA_SERVICE_KEY is a well-known default")


def test_the_old_services_default_key_is_well_known() -> None:
    assert DEVELOPMENT_SERVICE_KEY in WELL_KNOWN_SERVICE_KEYS


def test_the_development_webhook_secret_is_refused_outside_development() -> None:
    [problem] = problems({**SECRETS, "STRIPE_WEBHOOK_SECRET": f"whsec_x,{DEVELOPMENT_WEBHOOK_SECRET}"})
    assert problem.startswith("STRIPE_WEBHOOK_SECRET is a well-known default")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mana_credits"),
        ("DATABASE_URL", "mysql://u@h/d"),
        ("DATABASE_URL", "postgresql://h"),
        ("DATABASE_URL", "postgresql://h:port/d"),
        ("DATABASE_URL", "postgresql://h/d?nothing=known"),
        ("DATABASE_URL", "postgresql+psycopg://h/d"),
        ("DATABASE_DIRECT_URL", "postgres"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost:6379"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://h:0/0"),
        ("REDIS_URL", "redis://h:99999/0"),
        ("REDIS_URL", "redis://h/zero"),
        ("MANA_AUTH_URL", "localhost:3001"),
        ("MANA_AUTH_URL", "ftp://h"),
        ("MANA_AUTH_URL", "https://"),
        ("MANA_AUTH_URL", "https://[::1"),
        ("MANA_AUTH_URL", "https://a.example https://b.example"),
        ("MANA_NOTIFY_URL", "notify"),
        ("BASE_URL", "credits.example"),
        ("BASE_URL", "https://credits.example/?a=b"),
        ("APP_URL", "//mana.how"),
        ("STRIPE_API_BASE", "api.stripe.com"),
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "3061.0"),
        ("PORT", "٣٠٦١"),
        ("PORT", "9" * 5_000),
        ("ENV", "prod"),
        ("ENV", "Development"),
        ("NOTIFY_LANGUAGE", "fr"),
        ("PAUSE_NOTICE", "yes"),
        ("RENEWAL_REMINDER_DAYS", "31"),
        ("WEB_PROCESSES", "0"),
        ("WORKER_PROCESSES", "65"),
        ("WORKER_THREADS", "eight"),
        ("WEB_METRICS_PORT", "65536"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "verbose"),
    ],
)
def test_a_malformed_variable_is_named(name: str, value: str) -> None:
    [problem] = problems({**SECRETS, name: value})
    assert problem.startswith(f"{name} must be ")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%23w@h:6432/d",
        "postgres://u@h/d?sslmode=require",
        "postgresql:///d?host=/run/postgresql",
        "postgresql://u@[::1]:5432/d",
    ],
)
def test_addresses_of_a_database_that_work_are_taken(url: str) -> None:
    assert read_settings({**SECRETS, "DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize("url", ["redis://h", "rediss://:p@h:6379/3", "redis://h/"])
def test_addresses_of_a_redis_that_work_are_taken(url: str) -> None:
    assert read_settings({**SECRETS, "REDIS_URL": url}).redis_url == url


def test_a_malformed_address_is_not_repeated() -> None:
    wrong = {"DATABASE_URL": "postgresql://u:hidden@h:x/d", "REDIS_URL": "redis://:hidden@h:x"}
    assert "hidden" not in " ".join(problems({**SECRETS, **wrong}))


def test_a_pooler_is_one_that_stands_beside_the_database_itself() -> None:
    alone = read_settings({**SECRETS, "DATABASE_URL": "postgresql://h/d"})
    assert (alone.database_url, alone.pooler_url) == ("postgresql://h/d", None)
    both = {"DATABASE_URL": "postgresql://pooler/d", "DATABASE_DIRECT_URL": "postgresql://h/d"}
    behind = read_settings({**SECRETS, **both})
    assert (behind.database_url, behind.pooler_url) == ("postgresql://h/d", "postgresql://pooler/d")


def file_with(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_secrets_may_come_in_files(tmp_path: Path) -> None:
    values = {
        "DATABASE_URL": "postgresql://pooler/d",
        "DATABASE_DIRECT_URL": "postgresql://u:p@h/d",
        "REDIS_URL": "redis://:p@h/0",
        "MANA_SERVICE_KEY": "new-key,old-key",
        "STRIPE_SECRET_KEY": "sk_of_ours",
        "STRIPE_WEBHOOK_SECRET": "whsec_of_ours",
        "LOG_USER_IDS_KEY": "a-key",
        "OPS_USERS": "",
    }
    assert set(values) == set(MAY_BE_FILES)
    files = {
        f"{name}_FILE": file_with(tmp_path / name, f" {value}\n".encode()) for name, value in values.items()
    }
    assert read_settings(files) == read_settings(values)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read"),
        (b"x" * (FILE_BYTES_MAX + 1), f"more than {FILE_BYTES_MAX} bytes"),
        (b"\xff", "no UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, named: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    found = problems({**SECRETS, "STRIPE_SECRET_KEY_FILE": str(path)})
    assert len(found) == 1
    assert found[0].startswith("STRIPE_SECRET_KEY_FILE names a file")
    assert named in found[0]


def test_a_secret_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    both = {**SECRETS, "MANA_SERVICE_KEY_FILE": file_with(tmp_path / "key", b"another-secret")}
    assert problems(both) == ["MANA_SERVICE_KEY and MANA_SERVICE_KEY_FILE are both set; set one of them"]
    empty = read_settings({**both, "MANA_SERVICE_KEY": ""})
    assert empty.service_keys == ("another-secret",)


def test_an_empty_file_is_a_missing_secret(tmp_path: Path) -> None:
    nothing = {**SECRETS, "MANA_SERVICE_KEY": "", "MANA_SERVICE_KEY_FILE": file_with(tmp_path / "k", b"\n")}
    assert problems(nothing) == ["MANA_SERVICE_KEY is missing"]


def test_all_problems_are_named_at_once() -> None:
    named = " ".join(problems({"PORT": "x", "LOG_LEVEL": "y", "WEB_PROCESSES": "z"}))
    for name in ("PORT", "LOG_LEVEL", "WEB_PROCESSES", *SECRETS):
        assert name in named


def test_a_problem_never_repeats_a_secret() -> None:
    environ = {**SECRETS, "PORT": "x", "MANA_SERVICE_KEY": "changeme,a-secret-of-our-own"}
    assert "a-secret-of-our-own" not in " ".join(problems(environ))


def test_secrets_stay_out_of_what_is_printed() -> None:
    environ = {
        **SECRETS,
        "STRIPE_SECRET_KEY": "sk_live_ours",
        "DATABASE_URL": "postgresql://u:password-of-ours@h/d",
        "REDIS_URL": "redis://:password-of-ours@h",
    }
    printed = repr(read_settings(environ))
    for secret in (*SECRETS.values(), "sk_live_ours", "password-of-ours"):
        assert secret not in printed


def test_several_keys_may_be_listed_for_rotation() -> None:
    settings = read_settings({**SECRETS, "MANA_SERVICE_KEY": " new-key , old-key,"})
    assert settings.service_keys == ("new-key", "old-key")


def test_lists_and_addresses_are_trimmed() -> None:
    environ = {
        "CORS_ORIGINS": " https://a.example , https://b.example,",
        "MANA_AUTH_URL": "https://auth.example/",
        "BASE_URL": "https://credits.example/",
        "MANA_NOTIFY_URL": "https://notify.example/",
        "PORT": " 8080 ",
    }
    settings = read_settings({**SECRETS, **environ})
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.jwt_issuers == (settings.auth_url,) == ("https://auth.example",)
    assert (settings.base_url, settings.notify_url) == ("https://credits.example", "https://notify.example")
    assert settings.port == 8080


def test_the_issuers_may_be_others_than_the_auth_host() -> None:
    settings = read_settings({**SECRETS, "JWT_ISSUER": "https://a.example,https://b.example"})
    assert settings.jwt_issuers == ("https://a.example", "https://b.example")


def test_the_base_url_follows_the_port() -> None:
    assert read_settings({**SECRETS, "PORT": "8080"}).base_url == "http://localhost:8080"


def test_pseudonyms_in_logs_need_a_key_of_their_own() -> None:
    assert problems({"ENV": "development", "LOG_USER_IDS": "hashed"}) == [
        "LOG_USER_IDS_KEY is missing: LOG_USER_IDS=hashed needs a secret of your own"
    ]
    settings = read_settings(
        {"ENV": "development", "LOG_USER_IDS": "hashed", "LOG_USER_IDS_KEY": "of-our-own"}
    )
    assert settings.telemetry.log_user_ids == "hashed"
    assert "of-our-own" not in repr(settings)
