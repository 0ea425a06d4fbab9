"""Payment intents through the real SDK: cards, declines, 3-D Secure, SEPA."""

import asyncio

import pytest
import stripe

from simulators.stripe import StripeSimulator
from simulators.stripe.methods import TEST_METHODS
from tests.simulators.receiver import Receiver

PAID = ["charge.succeeded", "charge.updated", "payment_intent.succeeded"]


def new_intent(client: stripe.StripeClient, amount: int = 1000) -> stripe.PaymentIntent:
    customer = client.v1.customers.create({"email": "anna@example.com", "metadata": {"userId": "user-1"}})
    return client.v1.payment_intents.create(
        {
            "amount": amount,
            "currency": "eur",
            "customer": customer.id,
            "allowed_payment_method_types": ["card", "sepa_debit"],
            "metadata": {"userId": "user-1", "purchaseId": "purchase-1"},
        }
    )


def types(simulator: StripeSimulator) -> list[str]:
    return [event["type"] for event in simulator.events()]


def test_a_card_pays(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    intent = new_intent(client)
    assert intent.status == "requires_payment_method"
    assert intent.client_secret is not None
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    paid = client.v1.payment_intents.confirm(
        intent.id, {"payment_method": "pm_card_visa", "expand": ["latest_charge.balance_transaction"]}
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 1000)
    charge = paid.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (charge.status, charge.paid, charge.amount_refunded) == ("succeeded", True, 0)
    assert charge.metadata["purchaseId"] == "purchase-1"
    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    assert charge.balance_transaction.net == 1000 - charge.balance_transaction.fee
    assert types(simulator) == ["customer.created", "payment_intent.created", *PAID]


@pytest.mark.parametrize("name", [name for name, method in TEST_METHODS.items() if method.code])
def test_a_declined_card_raises_and_the_intent_waits_for_another(
    client: stripe.StripeClient, simulator: StripeSimulator, name: str
) -> None:
    intent = new_intent(client)
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(intent.id, {"payment_method": name})
    assert declined.value.code == TEST_METHODS[name].code
    assert declined.value.error is not None
    assert declined.value.error.decline_code == TEST_METHODS[name].decline_code
    after = client.v1.payment_intents.retrieve(intent.id)
    assert after.status == "requires_payment_method"
    assert after.last_payment_error is not None
    assert after.last_payment_error.code == TEST_METHODS[name].code
    assert types(simulator)[2:] == ["charge.failed", "payment_intent.payment_failed"]
    assert (
        client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
    )
    assert [charge.status for charge in client.v1.charges.list({"payment_intent": intent.id})] == [
        "succeeded",
        "failed",
    ]


def test_a_payment_can_be_created_and_confirmed_in_one_call(client: stripe.StripeClient) -> None:
    intent = client.v1.payment_intents.create(
        {"amount": 700, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True}
    )
    assert intent.status == "succeeded"
    with pytest.raises(stripe.CardError):
        client.v1.payment_intents.create(
            {"amount": 700, "currency": "eur", "payment_method": "pm_card_chargeDeclined", "confirm": True}
        )


@pytest.mark.parametrize("succeeds", [True, False])
def test_three_d_secure_waits_for_the_person(
    client: stripe.StripeClient, simulator: StripeSimulator, succeeds: bool
) -> None:
    intent = client.v1.payment_intents.confirm(
        new_intent(client).id,
        {"payment_method": "pm_card_threeDSecure2Required", "return_url": "https://app.example/back"},
    )
    assert intent.status == "requires_action"
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    assert intent.next_action.redirect_to_url.url == f"{simulator.url}/3ds/{intent.id}"
    simulator.authenticate(intent.id, succeeds=succeeds)
    after = client.v1.payment_intents.retrieve(intent.id)
    assert after.next_action is None
    if succeeds:
        assert after.status == "succeeded"
        assert types(simulator)[2:] == ["payment_intent.requires_action", *PAID]
    else:
        assert after.status == "requires_payment_method"
        assert types(simulator)[2:] == ["payment_intent.requires_action", "payment_intent.payment_failed"]


def test_sepa_is_processing_until_the_bank_pays_days_later(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = client.v1.payment_intents.confirm(new_intent(client).id, {"payment_method": "pm_sepaDebit"})
    assert (intent.status, intent.amount_received) == ("processing", 0)
    simulator.advance(5 * 86400)
    simulator.settle(intent.id)
    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
    assert types(simulator)[2:] == [
        "charge.pending",
        "payment_intent.processing",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    created = simulator.events("payment_intent.created")[0]["created"]
    assert simulator.events("payment_intent.succeeded")[0]["created"] >= created + 5 * 86400


def test_sepa_fails_days_later_and_a_card_may_be_tried_after_it(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = client.v1.payment_intents.confirm(
        new_intent(client).id,
        {"payment_method_data": {"type": "sepa_debit", "sepa_debit": {"iban": "AT861904300235473202"}}},
    )
    simulator.settle(intent.id, succeeds=False)
    after = client.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert after.status == "requires_payment_method"
    assert isinstance(after.latest_charge, stripe.Charge)
    assert after.latest_charge.status == "failed"
    assert types(simulator)[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    assert simulator.pay(intent.id)["status"] == "succeeded"


def test_types_are_narrowed_down_and_no_longer_dictated(client: stripe.StripeClient) -> None:
    dictated = {"amount": 500, "currency": "eur", "payment_method_types": ["card"]}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.raw_request("post", "/v1/payment_intents", **dictated)
    assert refused.value.code == "payment_method_types_no_longer_supported"
    before = client.raw_request("post", "/v1/payment_intents", stripe_version="2026-08-26.dahlia", **dictated)
    assert before.data["payment_method_types"] == ["card"]
    narrowed = client.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "allowed_payment_method_types": ["card", "sepa_debit", "paypal"]}
    )
    assert narrowed.payment_method_types == ["card"]
    free = client.v1.payment_intents.create({"amount": 500, "currency": "eur"})
    assert free.payment_method_types == ["card", "sepa_debit"]


def test_a_payment_method_the_intent_does_not_take_is_refused_and_changes_nothing(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.create(
            {
                "amount": 500,
                "currency": "eur",
                "allowed_payment_method_types": ["card"],
                "payment_method": "pm_sepaDebit",
                "confirm": True,
            }
        )
    assert refused.value.param == "payment_method"
    assert simulator.events() == []


def test_an_open_intent_is_cancelled_and_a_paid_one_is_not(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = new_intent(client)
    cancelled = client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    assert (cancelled.status, cancelled.cancellation_reason) == ("canceled", "abandoned")
    assert types(simulator)[-1] == "payment_intent.canceled"
    paid = simulator.pay(new_intent(client).id)
    for call in (client.v1.payment_intents.cancel, client.v1.payment_intents.confirm):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            call(paid["id"])
        assert refused.value.code == "payment_intent_unexpected_state"


def test_an_intent_is_changed_before_it_is_paid_and_metadata_are_merged(client: stripe.StripeClient) -> None:
    intent = client.v1.payment_intents.update(
        new_intent(client).id, {"amount": 1500, "metadata": {"userId": "", "note": "x"}}
    )
    assert intent.amount == 1500
    assert intent.metadata.to_dict() == {"purchaseId": "purchase-1", "note": "x"}


def test_intents_are_listed_by_customer_and_time(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    first = new_intent(client)
    simulator.advance(3600)
    second = new_intent(client)
    assert isinstance(first.customer, str)
    assert [one.id for one in client.v1.payment_intents.list({"customer": first.customer})] == [first.id]
    recent = client.v1.payment_intents.list({"created": {"gt": first.created, "lte": second.created}})
    assert [one.id for one in recent] == [second.id]
    assert [one.id for one in client.v1.payment_intents.list({"limit": 1})] == [second.id]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"amount": "ten"}, "parameter_invalid_integer", "amount"),
        ({"amount": ""}, "parameter_missing", "amount"),
        ({"currency": "euros"}, None, "currency"),
        ({"customer": "cus_nobody"}, "resource_missing", "customer"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"metadata": {"a": "x" * 501}}, None, "metadata[a]"),
        ({"expand": ["nothing"]}, None, "expand"),
    ],
)
def test_bad_parameters_are_refused_as_stripe_refuses_them(
    client: stripe.StripeClient, change: dict[str, object], code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.raw_request("post", "/v1/payment_intents", **{"amount": 500, "currency": "eur", **change})
    assert (refused.value.code, refused.value.param) == (code, param)


def test_what_does_not_exist_is_a_404_with_its_code_and_a_request_id(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent: 'pi_x'") as missing:
        client.v1.payment_intents.retrieve("pi_x")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert missing.value.request_id is not None
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        client.raw_request("get", "/v1/nothing")


def test_a_call_without_a_secret_key_is_unauthenticated(simulator: StripeSimulator) -> None:
    http = stripe.RequestsClient()
    anonymous = stripe.StripeClient("pk_test_public", base_addresses={"api": simulator.url}, http_client=http)
    with pytest.raises(stripe.AuthenticationError):
        anonymous.v1.customers.list()
    http.close()  # type: ignore[no-untyped-call]


def test_customers_are_found_by_address_changed_and_deleted(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    anna = client.v1.customers.create({"email": "anna@example.com", "metadata": {"userId": "a"}})
    client.v1.customers.create({"email": "ben@example.com"})
    assert [one.id for one in client.v1.customers.list({"email": "anna@example.com"})] == [anna.id]
    changed = client.v1.customers.update(anna.id, {"email": "anna@new.example", "metadata": {"x": "1"}})
    assert (changed.email, changed.metadata and changed.metadata.to_dict()) == (
        "anna@new.example",
        {"userId": "a", "x": "1"},
    )
    assert (
        simulator.events("customer.updated")[0]["data"]["previous_attributes"]["email"] == "anna@example.com"
    )
    assert client.v1.customers.delete(anna.id).deleted
    assert client.v1.customers.retrieve(anna.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create({"amount": 500, "currency": "eur", "customer": anna.id})


async def test_the_asynchronous_sdk_works_in_the_same_loop(receiver: Receiver) -> None:
    async with StripeSimulator(webhook_url=receiver.url).running() as simulator:
        http = stripe.AIOHTTPClient()
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": simulator.url}, http_client=http)
        intents = await asyncio.gather(
            *(client.v1.payment_intents.create_async({"amount": 500, "currency": "eur"}) for _ in range(5))
        )
        simulator.pay(intents[0].id)
        listed = await client.v1.payment_intents.list_async({"limit": 2})
        found = [one.id async for one in listed.auto_paging_iter()]
        assert sorted(found) == sorted(one.id for one in intents)
        await simulator.webhooks.wait_until_delivered()
        assert receiver.types[-1] == "payment_intent.succeeded"
        await http.close_async()  # type: ignore[no-untyped-call]
