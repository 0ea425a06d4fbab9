"""The simulator as a process of its own, steered over HTTP."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe

from tests.simulators.conftest import client_for
from tests.simulators.receiver import Receiver


@pytest.fixture
def url(tmp_path: Path, receiver: Receiver) -> Iterator[str]:
    """The base address of `python -m simulators.stripe serve`."""
    command = [sys.executable, "-m", "simulators.stripe", "serve", "--port", "0", "--data", str(tmp_path)]
    command += ["--webhook-url", receiver.url, "--webhook-secret", receiver.secret]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.terminate()
        assert server.wait(10) == 0


@pytest.fixture
def client(url: str) -> Iterator[stripe.StripeClient]:
    with client_for(url) as client:
        yield client


def control(url: str, what: str, /, **body: Any) -> Any:
    answer = requests.post(f"{url}/_control/{what}", json=body, timeout=5)
    assert answer.ok, answer.text
    return answer.json()


def test_people_and_banks_are_commanded_over_http(client: stripe.StripeClient, url: str) -> None:
    intent = client.v1.payment_intents.create({"amount": 1000, "currency": "eur"})
    command = f"objects/{intent.id}"
    assert control(url, f"{command}/pay", method="pm_sepaDebit")["status"] == "processing"
    assert control(url, f"{command}/succeed")["status"] == "succeeded"
    refund = control(url, f"{command}/refund", amount=300)
    assert control(url, f"objects/{refund['id']}/fail")["status"] == "failed"
    dispute = control(url, f"{command}/dispute", amount=500)
    assert (dispute["amount"], dispute["status"]) == (500, "lost")
    refused = requests.post(f"{url}/_control/{command}/succeed", timeout=5)
    assert refused.status_code == 400
    unknown = requests.post(f"{url}/_control/{command}/explode", timeout=5)
    assert "there are: authenticate, cancel" in unknown.json()["error"]["message"]


def test_deliveries_are_controlled_over_http(
    client: stripe.StripeClient, url: str, receiver: Receiver
) -> None:
    control(url, "webhooks/pause")
    for name in ("a", "b", "c"):
        client.v1.customers.create({"name": name})
    waiting = [
        event["id"] for event in requests.get(f"{url}/_control/webhooks", timeout=5).json()["undelivered"]
    ]
    assert len(waiting) == 3
    control(url, "webhooks/drop", events=[waiting[1]])
    control(url, "webhooks/repeat", events=[waiting[0]], times=1)
    control(url, "webhooks/reorder", events=[waiting[2]])
    delivered = control(url, "webhooks/deliver")["deliver"]
    assert [attempt["event_id"] for attempt in delivered] == [waiting[2], waiting[0], waiting[0]]
    assert [event.data.object["name"] for event in receiver.events] == ["c", "a", "a"]
    assert requests.post(f"{url}/_control/webhooks/repeat", json={}, timeout=5).status_code == 400
    assert requests.post(f"{url}/_control/webhooks/explode", json={}, timeout=5).status_code == 400


def test_faults_and_the_clock_are_controlled_over_http(client: stripe.StripeClient, url: str) -> None:
    control(url, "faults", kind="429", path="/customers")
    with pytest.raises(stripe.RateLimitError):
        client.v1.customers.create({})
    control(url, "faults", kind="hang", times=None)
    assert requests.delete(f"{url}/_control/faults", timeout=5).json() == {"faults": []}
    before = client.v1.customers.create({}).created
    control(url, "clock", advanceSeconds=3600)
    assert client.v1.customers.create({}).created >= before + 3600
    assert requests.post(f"{url}/_control/faults", json={"kind": "explode"}, timeout=5).status_code == 400


def test_the_index_shows_payments_with_buttons_that_work(client: stripe.StripeClient, url: str) -> None:
    intent = client.v1.payment_intents.create(
        {"amount": 1000, "currency": "eur", "metadata": {"note": "<script>"}}
    )
    page = requests.get(url, timeout=5).text
    assert "Pay by SEPA" in page
    assert "<script>" not in page
    form = requests.post(
        f"{url}/_control/objects/{intent.id}/pay", data={"method": "pm_card_visa"}, timeout=5
    )
    assert "Refund 10.00 EUR" in form.text, "the form leads back to the index"
    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_a_button_that_comes_too_late_says_so_on_the_index(client: stripe.StripeClient, url: str) -> None:
    intent = client.v1.payment_intents.create({"amount": 1000, "currency": "eur"})
    page = requests.post(f"{url}/_control/objects/{intent.id}/succeed", data={"x": "1"}, timeout=5)
    assert page.status_code == 200
    assert "status is requires_payment_method and not processing" in page.text
