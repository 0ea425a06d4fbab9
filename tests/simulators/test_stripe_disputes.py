"""Disputes: opened, answered, won and lost."""

import pytest
import stripe

from simulators.stripe import StripeSimulator
from simulators.stripe.errors import StripeError
from tests.simulators.test_stripe_refunds import paid


def types(simulator: StripeSimulator) -> list[str]:
    return [event["type"] for event in simulator.events() if event["type"].startswith("charge.dispute")]


def test_a_lost_dispute_keeps_the_money_away(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    intent_id = paid(client, simulator)
    opened = simulator.dispute(intent_id)
    dispute = client.v1.disputes.retrieve(opened["id"])
    assert (dispute.status, dispute.amount, dispute.payment_intent) == ("needs_response", 1000, intent_id)
    assert [one.net for one in dispute.balance_transactions] == [-1000 - 2000]
    assert client.v1.charges.retrieve(str(dispute.charge)).disputed
    simulator.close_dispute(dispute.id, won=False)
    assert client.v1.disputes.retrieve(dispute.id).status == "lost"
    assert types(simulator) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]
    with pytest.raises(StripeError, match="lost already"):
        simulator.close_dispute(dispute.id, won=True)


def test_a_won_dispute_gives_the_money_back(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    dispute = simulator.dispute(paid(client, simulator), 400)
    reviewed = client.v1.disputes.update(
        dispute["id"], {"evidence": {"product_description": "credits"}, "submit": True}
    )
    assert (reviewed.status, reviewed.evidence.product_description) == ("under_review", "credits")
    simulator.close_dispute(dispute["id"], won=True)
    after = client.v1.disputes.retrieve(dispute["id"])
    assert after.status == "won"
    assert [one.amount for one in after.balance_transactions] == [-400, 400]
    assert types(simulator) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    ]
    withdrawn = simulator.events("charge.dispute.funds_withdrawn")[0]["data"]["object"]
    assert len(withdrawn["balance_transactions"]) == 1, "an event shows the dispute as it was then"


def test_an_inquiry_takes_no_money_unless_it_becomes_a_dispute(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    quiet = simulator.dispute(paid(client, simulator), inquiry=True)
    assert (quiet["status"], quiet["balance_transactions"]) == ("warning_needs_response", [])
    assert simulator.close_dispute(quiet["id"], won=True)["status"] == "warning_closed"
    loud = simulator.dispute(paid(client, simulator), inquiry=True)
    assert simulator.close_dispute(loud["id"], won=False)["status"] == "needs_response"
    assert types(simulator) == [
        "charge.dispute.created",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
    ]


def test_a_sepa_dispute_is_lost_from_the_start(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    dispute = simulator.dispute(paid(client, simulator, "pm_sepaDebit"), reason="debit_not_authorized")
    assert dispute["status"] == "lost"
    assert types(simulator) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]


def test_disputes_are_listed_by_charge_and_intent_and_accepted_through_the_api(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent_id = paid(client, simulator)
    dispute = simulator.dispute(intent_id)
    simulator.dispute(paid(client, simulator))
    assert [one.id for one in client.v1.disputes.list({"payment_intent": intent_id})] == [dispute["id"]]
    assert [one.id for one in client.v1.disputes.list({"charge": dispute["charge"]})] == [dispute["id"]]
    assert len(client.v1.disputes.list()) == 2
    assert client.v1.disputes.close(dispute["id"]).status == "lost"


def test_the_disputed_test_card_pays(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    intent_id = paid(client, simulator, "pm_card_createDispute")
    assert [one.payment_intent for one in client.v1.disputes.list()] == [intent_id]


def test_only_a_charge_that_took_money_is_disputed_and_only_once(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = client.v1.payment_intents.create({"amount": 1000, "currency": "eur"})
    with pytest.raises(StripeError):
        simulator.dispute(intent.id)
    simulator.pay(intent.id)
    simulator.dispute(intent.id)
    with pytest.raises(StripeError, match="disputed already"):
        simulator.dispute(intent.id)
