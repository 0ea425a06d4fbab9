"""Whether it lives, whether it is ready, what it counts."""

import asyncio

from migrations.revisions import POST_FUNCTION, head_revision
from tests.support.client import SERVICE_KEY, USER
from tests.support.service import Service, serving_in_this_loop
from tests.support.shapes import is_timestamp

NOBODY_LISTENS = "127.0.0.1:9"


async def test_health_asks_for_nothing_and_says_who_answers(service: Service) -> None:
    body = (await service.call("GET", "/health")).ok()
    assert set(body) == {"status", "service", "timestamp"}
    assert (body["status"], body["service"]) == ("ok", "mana-credits")
    assert is_timestamp(body["timestamp"])


async def test_ready_when_database_migrations_and_redis_are(service: Service) -> None:
    body = (await service.call("GET", "/ready")).ok()
    assert body["checks"] == {"database": "ok", "migrations": "ok", "redis": "ok"}


async def test_not_ready_without_redis_which_is_named(database_url: str) -> None:
    async with serving_in_this_loop(database_url, f"redis://{NOBODY_LISTENS}/0") as service:
        reply = await service.call("GET", "/ready")
        assert reply.status == 503
        checks = reply.json["checks"]
        assert (checks["database"], checks["migrations"]) == ("ok", "ok")
        assert checks["redis"] != "ok"
        (await service.call("GET", "/health")).ok()


async def test_not_ready_with_a_database_that_was_never_migrated(
    empty_database_url: str, redis_url: str
) -> None:
    async with serving_in_this_loop(empty_database_url, redis_url, has_books=False) as service:
        reply = await service.call("GET", "/ready")
        assert reply.status == 503
        checks = reply.json["checks"]
        assert checks["database"] == "ok"
        assert checks["migrations"] != "ok"


async def test_not_ready_when_the_ledgers_function_is_missing_or_another(service: Service) -> None:
    service.books.rows(f"COMMENT ON FUNCTION {POST_FUNCTION} IS 'another'")
    reply = await service.call("GET", "/ready")
    assert (reply.status, reply.json["checks"]["database"]) == (503, "ok")
    service.books.rows(f"DROP FUNCTION {POST_FUNCTION}")
    reply = await service.call("GET", "/ready")
    assert reply.status == 503
    assert reply.json["checks"]["migrations"] != "ok"


async def test_ready_with_what_a_newer_release_left_so_that_an_upgrade_may_take_its_time(
    service: Service,
) -> None:
    """Of the processes that are still to be replaced nobody shall be taken out for what was migrated already."""
    remark = service.books.one("SELECT obj_description('credits.post'::regproc)")
    service.books.rows(f"COMMENT ON FUNCTION {POST_FUNCTION} IS 'newer {remark}'")
    (await service.call("GET", "/ready")).ok()
    service.books.rows("UPDATE alembic_version SET version_num = '9999'")
    service.books.rows(f"COMMENT ON FUNCTION {POST_FUNCTION} IS 'newer'")
    (await service.call("GET", "/ready")).ok()


async def test_not_ready_with_an_older_schema(service: Service) -> None:
    service.books.rows("UPDATE alembic_version SET version_num = '0008'")
    reply = await service.call("GET", "/ready")
    assert (reply.status, reply.json["checks"]["migrations"]) == (
        503,
        f"at revision 0008, this code needs {head_revision()}",
    )


async def test_without_a_database_it_lives_is_not_ready_and_says_503_with_retry_after(redis_url: str) -> None:
    url = "postgresql://nobody:secret-word@127.0.0.1:9/nothing"
    async with serving_in_this_loop(url, redis_url, has_books=False) as service:
        (await service.call("GET", "/health")).ok()
        ready = await service.call("GET", "/ready")
        assert ready.status == 503
        assert ready.json["checks"]["database"] != "ok"
        assert b"secret-word" not in ready.raw
        requests = [
            service.user("anna", "GET", "/balance"),
            service.use("anna", 1),
            service.grant("anna", 1),
            service.call("GET", f"{USER}/packages"),
        ]
        for reply in await asyncio.gather(*requests):
            assert reply.status == 503, reply.brief
            assert reply.json["statusCode"] == 503
            assert int(reply.headers["Retry-After"]) >= 1


async def test_metrics_count_requests_by_route_and_hold_no_ids(service: Service) -> None:
    await service.grant("anna-of-the-metrics", 5)
    await service.internal("GET", "/balance/anna-of-the-metrics")
    await service.call("GET", "/a/path/that/nobody/knows")
    reply = await service.call("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert b'route="/api/v1/internal/credits/balance/{userId}"' in reply.raw
    assert b"anna-of-the-metrics" not in reply.raw
    assert b"nobody/knows" not in reply.raw


async def test_metrics_count_by_calling_app_and_a_stranger_cannot_fill_them(service: Service) -> None:
    headers = {"X-Service-Key": SERVICE_KEY, "X-App-Id": "research"}
    for _ in range(3):
        await service.call("GET", "/api/v1/internal/credits/balance/anna", headers=headers)
    for number in range(500):
        headers = {"X-Service-Key": SERVICE_KEY, "X-App-Id": f"made-up-{number}"}
        await service.call("GET", "/api/v1/internal/credits/balance/anna", headers=headers)
    await service.call("GET", "/api/v1/internal/credits/balance/anna", headers={"X-App-Id": "keyless"})
    metrics = (await service.call("GET", "/metrics")).raw
    assert b'app="research"' in metrics
    assert b"keyless" not in metrics
    assert metrics.count(b'app="made-up-') <= 200
