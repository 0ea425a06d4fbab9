"""Events as the API lists them."""

from pathlib import Path

import pytest
import stripe

from simulators.stripe import Clock, StripeSimulator
from tests.simulators.conftest import client_for


def make_customers(client: stripe.StripeClient, count: int) -> list[str]:
    return [client.v1.customers.create({"name": str(number)}).id for number in range(count)]


def subjects(events: list[stripe.Event]) -> list[str]:
    return [event.data.object["id"] for event in events]


def test_pages_lead_through_all_events_newest_first(client: stripe.StripeClient) -> None:
    made = make_customers(client, 25)
    first = client.v1.events.list({"limit": 10})
    assert (len(first), first.has_more) == (10, True)
    assert subjects(first.data) == made[:14:-1]
    assert subjects(list(client.v1.events.list({"limit": 7}).auto_paging_iter())) == made[::-1]
    last = client.v1.events.list({"limit": 100})
    assert (len(last), last.has_more) == (25, False)


def test_ending_before_leads_back_to_what_came_since(client: stripe.StripeClient) -> None:
    make_customers(client, 3)
    seen = client.v1.events.list({"limit": 1}).data[0]
    new = make_customers(client, 12)
    page = client.v1.events.list({"ending_before": seen.id, "limit": 5})
    assert subjects(page.data) == new[4::-1], "the page next to the cursor, newest first"
    assert page.has_more
    assert subjects(list(page.auto_paging_iter())) == new, "the SDK then walks towards the newest"


def test_events_are_filtered_by_type_and_time(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    old = client.v1.payment_intents.create({"amount": 500, "currency": "eur"})
    simulator.advance(3600)
    new = client.v1.payment_intents.create({"amount": 500, "currency": "eur"})
    simulator.pay(new.id)
    assert subjects(client.v1.events.list({"type": "payment_intent.created"}).data) == [new.id, old.id]
    both = client.v1.events.list({"types": ["payment_intent.succeeded", "charge.updated"]}).data
    assert [event.type for event in both] == ["payment_intent.succeeded", "charge.updated"]
    assert len(client.v1.events.list({"type": "charge.*"})) == 2
    since = client.v1.events.list({"created": {"gte": new.created}, "type": "payment_intent.created"})
    assert subjects(since.data) == [new.id]
    until = client.v1.events.list({"created": {"lt": new.created}})
    assert subjects(until.data) == [old.id]


def test_an_event_is_a_snapshot_and_says_which_request_made_it(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = client.v1.payment_intents.create(
        {"amount": 500, "currency": "eur"}, {"idempotency_key": "purchase-1"}
    )
    simulator.pay(intent.id)
    created = client.v1.events.retrieve(simulator.events("payment_intent.created")[0]["id"])
    assert created.data.object["status"] == "requires_payment_method"
    assert created.request is not None
    assert created.request.idempotency_key == "purchase-1"
    assert created.request.id is not None
    assert (created.livemode, created.api_version) == (False, "2026-10-28.endive")
    assert simulator.events("payment_intent.succeeded")[0]["request"] == {
        "id": None,
        "idempotency_key": None,
    }


def test_events_are_forgotten_after_thirty_days(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    make_customers(client, 1)
    event_id = client.v1.events.list().data[0].id
    simulator.advance(30 * 86400)
    assert client.v1.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.events.retrieve(event_id)


def test_a_kept_store_starts_without_the_events_it_would_not_list(tmp_path: Path) -> None:
    clock = Clock(1_700_000_000)
    old = StripeSimulator(directory=tmp_path, clock=clock)
    with old.on_a_thread(), client_for(old.url) as client:
        make_customers(client, 2)
        clock.advance(20 * 86400)
        make_customers(client, 1)
    clock.advance(11 * 86400)
    again = StripeSimulator(directory=tmp_path, clock=clock)
    assert (len(again.events()), len(again.all("customer"))) == (1, 3)


def test_one_thing_may_be_told_by_two_events(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    simulator.pay(client.v1.payment_intents.create({"amount": 500, "currency": "eur"}).id)
    first = simulator.events("payment_intent.succeeded")[0]
    second = simulator.duplicate_event(first["id"])
    assert second["id"] != first["id"]
    assert second["data"]["object"] == first["data"]["object"]


def test_a_limit_out_of_bounds_and_an_unknown_cursor_are_refused(client: stripe.StripeClient) -> None:
    for limit in (0, 101):
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.events.list({"limit": limit})
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.events.list({"starting_after": "evt_none"})
    assert missing.value.param == "starting_after"
