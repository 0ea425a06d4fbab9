"""A Stripe simulator on a thread, the real SDK's client for it, and a receiver of its webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import stripe

from simulators.stripe import StripeSimulator
from simulators.stripe.store import Store
from tests.simulators.receiver import Receiver


@contextmanager
def client_for(url: str, *, timeout_seconds: float = 5.0) -> Iterator[stripe.StripeClient]:
    """Yield the unmodified SDK's client for a base address; its connections are closed afterwards."""
    http = stripe.RequestsClient(timeout=timeout_seconds)
    yield stripe.StripeClient(
        "sk_test_simulator", base_addresses={"api": url}, http_client=http, max_network_retries=0
    )
    http.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().on_a_thread() as receiver:
        yield receiver


@pytest.fixture
def simulator(receiver: Receiver, tmp_path: Path) -> Iterator[StripeSimulator]:
    """A simulator that delivers to `receiver` and tries again soon; its file has all that it knows at the end."""
    with StripeSimulator(
        webhook_url=receiver.url,
        directory=tmp_path,
        retry_seconds=0.05,
        retry_seconds_max=0.1,
        timeout_seconds=0.5,
    ).on_a_thread() as simulator:
        yield simulator
    kept = Store(tmp_path)
    assert kept.objects == simulator.world.store.objects
    assert kept.hidden == simulator.world.store.hidden
    assert kept.answers == simulator.world.store.answers


@pytest.fixture
def client(simulator: StripeSimulator) -> Iterator[stripe.StripeClient]:
    with client_for(simulator.url) as client:
        yield client
