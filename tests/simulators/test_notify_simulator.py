"""The mana-notify simulator."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.notify import NotifySimulator
from simulators.notify.simulator import SHOWN_MAX

SEND = "/api/v1/notifications/send"


def notification(external_id: str = "pause-1", **changes: Any) -> dict[str, Any]:
    return {
        "channel": "email",
        "appId": "sync",
        "userId": "user-1",
        "recipient": "anna@example.com",
        "subject": "Sync paused",
        "body": "Your credits do not cover the renewal.",
        "data": {"type": "sync-paused", "resumeUrl": "https://mana.how/settings/sync"},
        "externalId": external_id,
        **changes,
    }


async def send(
    notify: NotifySimulator,
    body: Any,
    *,
    key: str = "secret",
    session: aiohttp.ClientSession | None = None,
    patience_seconds: float = 30,
) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as own:
        answer = await (session or own).post(
            notify.url + SEND,
            json=body,
            headers={"X-Service-Key": key},
            timeout=aiohttp.ClientTimeout(total=patience_seconds),
        )
        return answer.status, await answer.json()


async def test_a_notification_is_accepted_and_kept() -> None:
    async with NotifySimulator().running() as notify:
        assert await send(notify, notification()) == (
            202,
            {"accepted": True, "externalId": "pause-1", "duplicate": False},
        )
        assert notify.sent_to("user-1")[0]["recipient"] == "anna@example.com"
        assert notify.sent_to("user-2") == []


async def test_the_same_external_id_is_sent_once() -> None:
    async with NotifySimulator().running() as notify:
        await asyncio.gather(*(send(notify, notification()) for _ in range(8)))
        await send(notify, notification("pause-2"))
        assert [(one["externalId"], one["repeats"]) for one in notify.sent] == [
            ("pause-1", 7),
            ("pause-2", 0),
        ]


async def test_a_wrong_or_missing_service_key_is_refused() -> None:
    async with NotifySimulator(service_keys=("old", "new")).running() as notify:
        assert (await send(notify, notification(), key="other"))[0] == 401
        assert (await send(notify, notification(), key=""))[0] == 401
        assert notify.sent == []
        assert (await send(notify, notification(), key="new"))[0] == 202


@pytest.mark.parametrize("name", ["channel", "appId", "userId", "subject", "body", "externalId"])
async def test_a_notification_without_a_required_field_is_refused(name: str) -> None:
    async with NotifySimulator().running() as notify:
        status, answer = await send(notify, notification() | {name: None})
        assert (status, answer["message"]) == (400, f"missing: {name}")


async def test_a_503_and_a_reset_have_no_effect() -> None:
    async with NotifySimulator().running() as notify:
        notify.faults.add("503", times=2)
        assert [(await send(notify, notification()))[0] for _ in range(3)] == [503, 503, 202]
        notify.faults.add("reset", times=None)
        with pytest.raises(aiohttp.ClientConnectionError):
            await send(notify, notification("pause-2"))
        assert len(notify.sent) == 1


async def test_a_hang_answers_nothing() -> None:
    async with NotifySimulator().running() as notify:
        hang = notify.faults.add("hang")
        with pytest.raises(TimeoutError):
            await send(notify, notification(), patience_seconds=0.5)
        assert (hang.hits, notify.sent) == (1, [])


@pytest.mark.parametrize("kind", ["cut", "reset_after", "hang_after"])
async def test_a_lost_answer_leaves_the_notification_sent(kind: Any) -> None:
    async with NotifySimulator().running() as notify:
        notify.faults.add(kind, times=None)
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            await send(notify, notification(), patience_seconds=0.5)
        notify.faults.clear()
        status, answer = await send(notify, notification())
        assert (status, answer["duplicate"]) == (202, True)
        assert len(notify.sent) == 1


async def test_what_was_sent_is_kept_between_runs_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    NotifySimulator(directory=tmp_path).accept(notification())
    with (tmp_path / "notifications.jsonl").open("a") as file:
        file.write('{"externalId": "torn')
    again = NotifySimulator(directory=tmp_path)
    assert [again.accept(notification()), again.accept(notification("pause-2"))] == [False, True]
    assert [one["externalId"] for one in NotifySimulator(directory=tmp_path).sent] == ["pause-1", "pause-2"]


async def test_the_page_shows_the_newest_first_and_escapes_it() -> None:
    async with NotifySimulator().running() as notify, aiohttp.ClientSession() as session:
        await send(notify, notification())
        await send(notify, notification("pause-2", subject="<script>alert(1)</script>"))
        page = await (await session.get(notify.url)).text()
        assert page.index("pause-2") < page.index("pause-1")
        assert "<script>" not in page
        sent = await (await session.get(f"{notify.url}/sent")).json()
        assert [one["externalId"] for one in sent["sent"]] == ["pause-2", "pause-1"]


async def test_the_page_says_how_many_there_are_also_when_it_shows_only_the_newest() -> None:
    notify = NotifySimulator()
    async with notify.running(), aiohttp.ClientSession() as session:
        for number in range(1, SHOWN_MAX + 2):
            notify.accept(notification(f"pause-{number}", body="Here: https://mana.how/settings/sync\n"))
        page = await (await session.get(notify.url)).text()
    assert f"{SHOWN_MAX + 1} notifications" in page
    assert f"the newest {SHOWN_MAX} of them" in page
    assert page.count("<article") == SHOWN_MAX
    assert f"pause-{SHOWN_MAX + 1}<" in page
    assert "pause-1<" not in page
    assert page.count('<a href="https://mana.how/settings/sync"') == SHOWN_MAX
