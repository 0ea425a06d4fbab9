"""Notices: after the commit, once, in the person's language, or not at all when they would be wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.errors import Refusal
from domain.notices import texts
from domain.notices.gateway import Notification, NotifierFailed
from domain.sync_billing.calendar import Interval
from domain.sync_billing.prices import PRICES
from domain.sync_billing.reminders import RemindOfRenewals
from domain.sync_billing.renewals import charge_chunk
from simulators.notify import NotifySimulator
from tests.support.sync import Sync, settings_of
from workers.notifier import HttpNotifier

KEY = "the-service-key"

NOTICE = Notification(
    channel="email", app_id="sync", user_id="ada", subject="s", body="b", data={}, external_id="x-1"
)


@pytest.fixture
def notify() -> Iterator[NotifySimulator]:
    with NotifySimulator(service_keys=(KEY,)).on_a_thread() as running:
        yield running


@pytest.fixture
def sync(engine: Engine, notify: NotifySimulator) -> Sync:
    return Sync(engine, settings=settings_of(MANA_NOTIFY_URL=notify.url, MANA_SERVICE_KEY=f"{KEY},older-key"))


def with_settings(sync: Sync, notify: NotifySimulator, **variables: str) -> None:
    sync.settings = settings_of(MANA_NOTIFY_URL=notify.url, MANA_SERVICE_KEY=KEY, **variables)


def pause(sync: Sync, user_id: str = "ada", **options: Any) -> None:
    """Somebody's credits do not cover their renewal."""
    sync.fund(user_id, 50)
    sync.now = sync.activate(user_id, **options).next_charge_at
    sync.add_run()


def results(sync: Sync) -> list[Any]:
    """How the jobs of the mail queue ended."""
    return [
        (row.state, row.result)
        for row in sync.sql("SELECT state, result FROM ops.jobs WHERE queue = 'mail' ORDER BY id")
    ]


def test_a_pause_is_told_with_the_body_of_the_contract(sync: Sync, notify: NotifySimulator) -> None:
    pause(sync, contact_email="ada@example.com")
    sync.work()
    [sent] = notify.sent
    paused_at = sync.status("ada").paused_at
    assert paused_at is not None
    del sent["acceptedAt"]
    assert sent.pop("body").startswith("Your credits did not cover the monthly renewal")
    assert sent == {
        "channel": "email",
        "appId": "sync",
        "userId": "ada",
        "recipient": "ada@example.com",
        "subject": "Your Cloud Sync is paused",
        "data": {"type": "sync-paused", "resumeUrl": "https://mana.how/settings/sync"},
        "externalId": f"sync-paused:ada:{paused_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "repeats": 0,
    }


def test_each_pause_has_an_id_of_its_own(sync: Sync, notify: NotifySimulator) -> None:
    pause(sync)
    sync.work()
    sync.wait(days=1)
    sync.fund("ada", 10)
    sync.now = sync.activate("ada").next_charge_at
    sync.charge()
    assert len({sent["externalId"] for sent in notify.sent_to("ada")}) == 2


@pytest.mark.parametrize("fault", ["hang_after", "cut", "reset", "reset_after", "500", "429"])
def test_an_unknown_outcome_is_asked_again_with_the_same_id_and_sent_once(
    sync: Sync, notify: NotifySimulator, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr("workers.notifier.TIMEOUT_SECONDS", 0.3)
    notify.faults.add(fault)
    pause(sync)
    sync.work()
    assert [state for state, _ in results(sync)] == ["waiting"]
    sync.wait(minutes=1)
    sync.work()
    assert [sent["userId"] for sent in notify.sent] == ["ada"]
    assert notify.requests == 2
    assert results(sync) == [("done", {"sent": notify.sent[0]["externalId"]})]


def test_a_notifier_that_is_down_is_tried_for_a_day_and_then_somebody_can_see_it(
    sync: Sync, notify: NotifySimulator
) -> None:
    notify.faults.add("503", times=None)
    pause(sync)
    began = sync.now
    sync.work()
    while [state for state, _ in results(sync)] == ["waiting"]:
        sync.wait(minutes=30)
        sync.work()
    assert sync.now - began > timedelta(hours=23)
    assert [state for state, _ in results(sync)] == ["failed"]
    [row] = sync.sql("SELECT last_error FROM ops.jobs WHERE queue = 'mail'")
    assert row.last_error == "NotifierFailed: answered 503"


def test_nothing_is_told_before_the_pause_is_committed(sync: Sync, notify: NotifySimulator) -> None:
    sync.fund("ada", 50)
    sync.now = sync.activate("ada").next_charge_at

    class Undone(Refusal):
        code = "undone"

    def work(connection: Any) -> None:
        charge_chunk(connection, began_at=sync.now, now=sync.now)
        sync.work()
        raise Undone

    with pytest.raises(Undone):
        sync.do(work)
    sync.work()
    assert notify.sent == []
    assert sync.notices() == []
    assert sync.status("ada").active


@pytest.mark.parametrize(
    ("variables", "reason"),
    [({"MANA_NOTIFY_URL": ""}, "MANA_NOTIFY_URL is not set"), ({"PAUSE_NOTICE": "off"}, "switched off")],
)
def test_where_pauses_are_not_told_the_job_says_so(
    sync: Sync, notify: NotifySimulator, variables: dict[str, str], reason: str
) -> None:
    sync.settings = settings_of(**{"MANA_NOTIFY_URL": notify.url, "MANA_SERVICE_KEY": KEY, **variables})
    pause(sync)
    sync.work()
    assert results(sync) == [("done", {"skipped": reason})]
    assert notify.requests == 0


def test_whoever_resumed_before_the_mail_went_is_not_told_of_a_pause(
    sync: Sync, notify: NotifySimulator
) -> None:
    notify.faults.add("503")
    pause(sync)
    sync.work()
    sync.fund("ada", 100)
    sync.activate("ada")
    sync.wait(minutes=1)
    sync.work()
    assert results(sync) == [("done", {"skipped": "no longer so"})]
    assert notify.sent == []


def test_the_recipient_is_the_address_of_the_token_or_of_stripe_or_left_out(
    sync: Sync, notify: NotifySimulator
) -> None:
    sync.sql(
        "INSERT INTO credits.stripe_customers (user_id, stripe_customer_id, email) VALUES"
        " ('by-token', 'cus_1', 'old@example.com'), ('by-stripe', 'cus_2', 's@example.com'), ('none', 'cus_3', '')"
    )
    for user_id, address in (("by-token", "new@example.com"), ("by-stripe", None), ("none", "")):
        sync.fund(user_id, 50)
        sync.activate(user_id, contact_email=address)
    sync.wait(days=29)
    sync.charge()
    assert {sent["userId"]: sent["recipient"] for sent in notify.sent} == {
        "by-token": "new@example.com",
        "by-stripe": "s@example.com",
        "none": None,
    }


def test_whoever_will_not_be_able_to_pay_is_reminded_once_some_days_before(
    sync: Sync, notify: NotifySimulator
) -> None:
    for user_id, had in (("short", 59), ("covered", 60), ("gifted", 30)):
        sync.fund(user_id, had)
        sync.activate(user_id, contact_email=f"{user_id}@example.com")
    sync.gift("gifted")
    due = sync.status("short").next_charge_at
    assert due is not None
    sync.now = due - timedelta(days=3, minutes=1)
    sync.add(RemindOfRenewals())
    sync.work()
    assert notify.sent == []
    for _ in range(4):
        sync.wait(hours=1)
        sync.add(RemindOfRenewals())
        sync.work()
    [sent] = notify.sent
    assert sync.notices() == [("send_renewal_reminder", "short")]
    assert sent["userId"] == "short"
    assert sent["subject"] == "Cloud Sync renews on 28 February 2026: you need 1 credit more"
    assert sent["data"]["type"] == "sync-renewal-reminder"
    assert sent["externalId"].startswith("sync-reminder:short:2026-02-28T")


def test_a_reminder_is_repeated_for_the_next_period_and_not_for_one_paid_in_time(
    sync: Sync, notify: NotifySimulator
) -> None:
    sync.fund("ada", 40)
    for month in range(3):
        due = sync.activate("ada").next_charge_at if month == 0 else sync.status("ada").next_charge_at
        assert due is not None
        sync.now = due - timedelta(days=1)
        sync.add(RemindOfRenewals())
        sync.work()
        sync.fund("ada", 30)
        sync.now = due
        sync.charge()
    assert len(notify.sent_to("ada")) == 3


def test_no_reminder_where_they_are_switched_off(sync: Sync, notify: NotifySimulator) -> None:
    with_settings(sync, notify, RENEWAL_REMINDER_DAYS="0")
    sync.fund("ada", 30)
    sync.activate("ada")
    sync.wait(days=27)
    sync.add(RemindOfRenewals())
    sync.work()
    assert sync.notices() == []


def test_credits_that_arrive_before_the_reminder_goes_make_it_needless(
    sync: Sync, notify: NotifySimulator
) -> None:
    notify.faults.add("503")
    sync.fund("ada", 30)
    sync.activate("ada")
    sync.wait(days=27)
    sync.add(RemindOfRenewals())
    sync.work()
    sync.fund("ada", 30)
    sync.wait(minutes=1)
    sync.work()
    assert results(sync) == [("done", {"skipped": "no longer so"})]


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("interval", list(Interval))
def test_every_text_is_whole_in_every_language(language: texts.Language, interval: Interval) -> None:
    app_url = settings_of().app_url
    written = [
        texts.paused(
            language,
            interval=interval,
            price=PRICES[interval],
            url=f"{app_url}/settings/sync",
            auto_resume=asked,
        )
        for asked in (True, False)
    ]
    for text in written:
        assert "{" not in text.subject + text.body
        assert "https://mana.how/settings/sync" in text.body
        assert str(PRICES[interval]) in text.body


def test_german_is_written_as_germans_write_it(sync: Sync, notify: NotifySimulator) -> None:
    with_settings(sync, notify, NOTIFY_LANGUAGE="de")
    sync.fund("ada", 30)
    sync.sql("UPDATE credits.balances SET balance = 30.5 WHERE user_id = 'ada'")
    sync.activate("ada")
    sync.wait(days=27)
    sync.add(RemindOfRenewals())
    sync.work()
    [sent] = notify.sent
    assert sent["subject"] == ("Cloud-Synchronisierung: für den 28.02.2026 brauchst du noch 29,5 Credits")


def test_an_address_without_a_host_is_refused() -> None:
    for url in ("notify.example.com", "ftp://notify", "http://"):
        with pytest.raises(ValueError, match="must begin with"):
            HttpNotifier(url, KEY)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The address of a server that answers its one request so, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 70000\r\n\r\n" + b" " * 70_000,
        b"HTTP/1.1 2",
        b"",
        b"not HTTP at all\r\n\r\n",
    ],
)
def test_a_redirect_or_half_an_answer_or_nonsense_is_no_acceptance(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(NotifierFailed):
        HttpNotifier(url, KEY).send(NOTICE)


def test_an_acceptance_without_a_body_is_one() -> None:
    with answering(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n") as url:
        HttpNotifier(url, KEY).send(NOTICE)


def test_a_wrong_key_a_closed_port_and_a_wrong_path_are_failures(notify: NotifySimulator) -> None:
    sends: list[Callable[[], None]] = [
        lambda: HttpNotifier(notify.url, "wrong-key").send(NOTICE),
        lambda: HttpNotifier("http://127.0.0.1:1", KEY).send(NOTICE),
        lambda: HttpNotifier(f"{notify.url}/elsewhere", KEY).send(NOTICE),
    ]
    for send in sends:
        with pytest.raises(NotifierFailed) as failed:
            send()
        assert "ada" not in str(failed.value)
    assert notify.sent == []
