"""Checkout Sessions: the API through the real SDK, the hosted page as a browser would use it."""

import time

import pytest
import requests
import stripe

from simulators.stripe import StripeSimulator


def new_session(client: stripe.StripeClient, **more: object) -> stripe.checkout.Session:
    customer = client.v1.customers.create({"email": "anna@example.com"})
    answer = client.raw_request(
        "post",
        "/v1/checkout/sessions",
        mode="payment",
        customer=customer.id,
        client_reference_id="user-1",
        success_url="https://app.example/done?session={CHECKOUT_SESSION_ID}",
        cancel_url="https://app.example/back",
        line_items=[
            {
                "quantity": 2,
                "price_data": {
                    "currency": "eur",
                    "unit_amount": 450,
                    "product_data": {"name": "Pack <1>"},
                },
            }
        ],
        metadata={"purchaseId": "p-1"},
        payment_intent_data={"metadata": {"purchaseId": "p-1"}},
        **more,
    )
    session = client.deserialize(answer, api_mode="V1")
    assert isinstance(session, stripe.checkout.Session)
    return session


def press(session: stripe.checkout.Session, button: str) -> requests.Response:
    """Press a button of the hosted page; a redirect is not followed."""
    assert session.url is not None
    return requests.post(session.url, data={"button": button}, allow_redirects=False, timeout=5)


def types(simulator: StripeSimulator) -> list[str]:
    return [event["type"] for event in simulator.events()][1:]


def test_a_new_session_is_open_unpaid_and_has_no_intent_yet(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client)
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert (session.amount_total, session.currency) == (900, "eur")
    assert session.url == f"{simulator.url}/c/pay/{session.id}"
    assert session.expires_at == session.created + 86400
    page = requests.get(session.url, timeout=5).text
    assert "9.00 EUR" in page
    assert "Pack &lt;1&gt;" in page
    lines = client.v1.checkout.sessions.line_items.list(session.id)
    assert [(line.description, line.quantity, line.amount_total) for line in lines] == [("Pack <1>", 2, 900)]


def test_pressing_pay_completes_the_session_and_leads_back(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client)
    answer = press(session, "pay")
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"https://app.example/done?session={session.id}",
    )
    after = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert (after.status, after.payment_status, after.url) == ("complete", "paid", None)
    assert after.customer_details is not None
    assert after.customer_details.email == "anna@example.com"
    assert isinstance(after.payment_intent, stripe.PaymentIntent)
    assert after.payment_intent.status == "succeeded"
    assert after.payment_intent.metadata["purchaseId"] == "p-1"
    assert types(simulator) == [
        "payment_intent.created",
        "charge.succeeded",
        "charge.updated",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    found = client.v1.checkout.sessions.list({"payment_intent": after.payment_intent.id})
    assert [one.id for one in found] == [session.id]


def test_pressing_decline_shows_why_and_the_person_may_try_again(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client)
    answer = press(session, "decline")
    assert (answer.status_code, "Your card was declined." in answer.text) == (402, True)
    after = client.v1.checkout.sessions.retrieve(session.id)
    assert (after.status, after.payment_intent) == ("open", None)
    assert press(session, "pay").status_code == 303
    assert types(simulator).count("payment_intent.created") == 1
    assert types(simulator)[1:3] == ["charge.failed", "payment_intent.payment_failed"]
    assert simulator.get(session.id)["payment_status"] == "paid"


def test_pressing_leave_leads_back_and_changes_nothing(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client)
    assert press(session, "leave").headers["Location"] == "https://app.example/back"
    assert simulator.get(session.id)["status"] == "open"
    assert types(simulator) == []


@pytest.mark.parametrize("succeeds", [True, False])
def test_sepa_completes_the_session_unpaid_and_the_bank_answers_later(
    client: stripe.StripeClient, simulator: StripeSimulator, succeeds: bool
) -> None:
    session = new_session(client)
    assert press(session, "sepa").status_code == 303
    after = client.v1.checkout.sessions.retrieve(session.id)
    assert (after.status, after.payment_status) == ("complete", "unpaid")
    assert types(simulator)[-3:] == [
        "charge.pending",
        "payment_intent.processing",
        "checkout.session.completed",
    ]
    simulator.settle(str(after.payment_intent), succeeds=succeeds)
    late = client.v1.checkout.sessions.retrieve(session.id)
    if succeeds:
        assert late.payment_status == "paid"
        assert types(simulator)[-2:] == [
            "payment_intent.succeeded",
            "checkout.session.async_payment_succeeded",
        ]
    else:
        assert late.payment_status == "unpaid"
        assert types(simulator)[-2:] == [
            "payment_intent.payment_failed",
            "checkout.session.async_payment_failed",
        ]


def test_three_d_secure_leads_to_the_bank_and_back(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client)
    challenge = simulator.url + press(session, "three_d_secure").headers["Location"]
    assert "Is this payment yours?" in requests.get(challenge, timeout=5).text
    failed = requests.post(challenge, data={"button": "fail"}, timeout=5)
    assert "unable to authenticate" in failed.text
    assert f'action="/c/pay/{session.id}"' in failed.text, "the next attempt is made on Checkout's page"
    assert simulator.get(session.id)["status"] == "open"
    challenge = simulator.url + press(session, "three_d_secure").headers["Location"]
    done = requests.post(challenge, data={"button": "complete"}, allow_redirects=False, timeout=5)
    assert done.headers["Location"].endswith(session.id)
    assert simulator.get(session.id)["payment_status"] == "paid"
    assert types(simulator)[-1] == "checkout.session.completed"


def test_a_session_expires_when_its_time_is_over(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client, expires_at=int(time.time()) + 1800)
    press(session, "decline")
    simulator.advance(1801)
    assert types(simulator)[-2:] == ["payment_intent.canceled", "checkout.session.expired"]
    after = client.v1.checkout.sessions.retrieve(session.id)
    assert (after.status, after.url) == ("expired", None)
    page = press(session, "pay")
    assert "This page has expired." in page.text
    assert simulator.get(session.id)["payment_status"] == "unpaid"


def test_a_session_can_be_expired_once_and_only_while_it_is_open(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    session = new_session(client)
    assert client.v1.checkout.sessions.expire(session.id).status == "expired"
    assert types(simulator) == ["checkout.session.expired"]
    with pytest.raises(stripe.InvalidRequestError, match="status of expired"):
        client.v1.checkout.sessions.expire(session.id)


def test_a_line_may_name_a_price(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    simulator.add_price("price_pack", 1990)
    session = client.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": "https://app.example/done",
            "line_items": [{"price": "price_pack", "quantity": 1}],
        }
    )
    assert session.amount_total == 1990
    assert session.customer is None
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.checkout.sessions.create(
            {
                "mode": "payment",
                "success_url": "https://app.example/done",
                "line_items": [{"price": "price_none", "quantity": 1}],
            }
        )
    assert missing.value.code == "resource_missing"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"expires_at": 1}, "expires_at"),
        ({"expires_at": int(time.time()) + 2 * 86400}, "expires_at"),
        ({"payment_intent_data": {"colour": "red"}}, "colour"),
        ({"payment_method_types": ["card"]}, "payment_method_types"),
    ],
)
def test_bad_sessions_are_refused(client: stripe.StripeClient, change: dict[str, object], param: str) -> None:
    good: dict[str, object] = {
        "mode": "payment",
        "success_url": "https://app.example/done",
        "line_items": [
            {"price_data": {"currency": "eur", "unit_amount": 100, "product_data": {"name": "x"}}}
        ],
    }
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.raw_request("post", "/v1/checkout/sessions", **{**good, **change})
    assert refused.value.param == param
