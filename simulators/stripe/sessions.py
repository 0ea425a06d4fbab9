"""Checkout Sessions: a page of Stripe's where a person pays, and what comes of it."""

from typing import Any
from urllib.parse import urlsplit

from simulators.stripe import forms, intents, methods, prices
from simulators.stripe.customers import existing
from simulators.stripe.errors import ParameterError, StripeError
from simulators.stripe.shapes import Object, list_of, new_id, shape
from simulators.stripe.world import World

# Stripe's limits of `expires_at`, from now.
EXPIRES_AFTER_SECONDS_MIN = 30 * 60
EXPIRES_AFTER_SECONDS_MAX = 24 * 3600

_TEXTS = ("cancel_url", "client_reference_id", "customer_email", "locale", "submit_type")
_IGNORED = {
    "allow_promotion_codes",
    "automatic_tax",
    "billing_address_collection",
    "consent_collection",
    "custom_text",
    "customer_creation",
    "customer_update",
    "invoice_creation",
    "payment_method_options",
    "phone_number_collection",
    "tax_id_collection",
}
CREATABLE = frozenset(
    {
        "mode",
        "line_items",
        "success_url",
        "customer",
        "currency",
        "metadata",
        "payment_intent_data",
        "payment_method_types",
        "allowed_payment_method_types",
        "excluded_payment_method_types",
        "expires_at",
        "ui_mode",
        *_TEXTS,
        *_IGNORED,
    }
)
LISTABLE = frozenset(
    {"payment_intent", "customer", "status", "created", "limit", "starting_after", "ending_before"}
)
_INTENT_DATA = frozenset(
    {"metadata", "description", "receipt_email", "setup_future_usage", "statement_descriptor_suffix"}
)


def create(world: World, params: forms.Params) -> Object:
    """Make an open session with its page."""
    forms.check_known(params, CREATABLE)
    if forms.required(params, "mode") != "payment":
        raise ParameterError("The simulator has Checkout for mode=payment alone.", param="mode")
    for name in ("success_url", "cancel_url"):
        _check_url(params, name, needed=name == "success_url")
    customer = forms.text(params, "customer")
    if customer and params.get("customer_email"):
        raise ParameterError("You may only specify one of these parameters: customer, customer_email.")
    lines = _lines(world, params)
    total = sum(line["amount_total"] for line in lines)
    session_id = new_id("cs_test", 58)
    session = shape(
        "checkout.session",
        id=session_id,
        object="checkout.session",
        adaptive_pricing={"enabled": False},
        amount_subtotal=total,
        amount_total=total,
        automatic_tax=shape("checkout.session", "automatic_tax", enabled=False),
        created=world.now(),
        currency=lines[0]["currency"],
        custom_fields=[],
        custom_text=shape("checkout.session", "custom_text"),
        customer=existing(world, customer)["id"] if customer else None,
        customer_creation=None if customer else "if_required",
        expires_at=_expiry(world, params),
        invoice_creation={
            "enabled": False,
            "invoice_data": shape("checkout.session", "invoice_creation", "invoice_data", metadata={}),
        },
        livemode=False,
        metadata=forms.metadata(params),
        mode="payment",
        payment_method_collection="if_required",
        payment_method_options={},
        payment_method_types=methods.offered(world, params, lines[0]["currency"]),
        payment_status="unpaid",
        phone_number_collection={"enabled": False},
        shipping_options=[],
        status="open",
        success_url=str(params["success_url"]),
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        ui_mode="hosted_page",
        url=f"{world.public_url}/c/pay/{session_id}",
        **{name: forms.text(params, name) for name in _TEXTS},
    )
    return world.store.put(session, lines=lines, intent=None, intent_data=_intent_data(params))


def retrieve(world: World, session_id: str, params: forms.Params) -> Object:
    """Return a session."""
    forms.check_known(params, frozenset())
    return world.store.get("checkout.session", session_id, "session")


def list_all(world: World, params: forms.Params) -> Object:
    """List sessions, newest first; `payment_intent` finds the session an intent was made by."""
    forms.check_known(params, LISTABLE)

    def matches(one: Object) -> bool:
        hidden = world.store.hidden[one["id"]]
        return (
            params.get("payment_intent") in (None, hidden["intent"])
            and params.get("customer") in (None, one["customer"])
            and params.get("status") in (None, one["status"])
        )

    return world.store.page("checkout.session", params, "/v1/checkout/sessions", matches)


def line_items(world: World, session_id: str, params: forms.Params) -> Object:
    """List what a session sells."""
    forms.check_known(params, frozenset({"limit", "starting_after", "ending_before"}))
    world.store.get("checkout.session", session_id, "session")
    lines = world.store.hidden[session_id]["lines"]
    return list_of(lines, f"/v1/checkout/sessions/{session_id}/line_items")


def expire(world: World, session_id: str, params: forms.Params) -> Object:
    """Close an open session; an intent it has is cancelled with it."""
    forms.check_known(params, frozenset())
    session = world.store.get("checkout.session", session_id, "session")
    if session["status"] != "open":
        raise StripeError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. '
            f"This Checkout Session has a status of {session['status']}."
        )
    intent_id = world.store.hidden[session_id]["intent"]
    if intent_id and world.store.get("payment_intent", intent_id)["status"] in intents.OPEN:
        intents.cancel(world, intent_id, {})
    session.update(status="expired", url=None)
    world.emit("checkout.session.expired", session)
    return session


def expire_overdue(world: World) -> int:
    """Expire the open sessions whose time is over; returns how many."""
    overdue = [
        one
        for one in world.store.all("checkout.session")
        if one["status"] == "open" and one["expires_at"] <= world.now()
    ]
    for session in overdue:
        expire(world, session["id"], {})
    return len(overdue)


def submit(world: World, session_id: str, test_method: str) -> Object:
    """The person on the page pays with a test payment method, by name.

    Returns the session: complete and paid (card), complete and unpaid (SEPA), or still open (3-D Secure
    asks).  Raises StripeError where the card is declined or the session is not open.
    """
    session = world.store.get("checkout.session", session_id, "session")
    _check_open(session)
    intent = _intent_of(world, session)
    if intent["status"] != "requires_payment_method":
        intent.update(status="requires_payment_method", next_action=None, payment_method=None)
    intents.confirm(world, intent["id"], {"payment_method": test_method})
    if intent["status"] != "requires_action":
        complete(world, session, intent)
    return session


def complete(world: World, session: Object, intent: Object) -> None:
    """The session's payment succeeded or is being processed: the page's work is done."""
    charge = world.store.get("charge", intent["latest_charge"])
    session.update(
        status="complete",
        url=None,
        payment_intent=intent["id"],
        payment_status="paid" if intent["status"] == "succeeded" else "unpaid",
        customer_details=_customer_details(world, session, charge),
    )
    world.emit("checkout.session.completed", session)


def finish_later(world: World, intent: Object) -> None:
    """An intent was settled by command: tell the session that made it, if one did."""
    session = session_of(world, intent["id"])
    if session is None:
        return
    paid = intent["status"] == "succeeded"
    if session["status"] == "open":
        if paid:
            complete(world, session, intent)
        return
    session["payment_status"] = "paid" if paid else "unpaid"
    outcome = "succeeded" if paid else "failed"
    world.emit(f"checkout.session.async_payment_{outcome}", session)


def session_of(world: World, intent_id: str) -> Object | None:
    """Return the session that made an intent, or None."""
    for one in world.store.all("checkout.session"):
        if world.store.hidden[one["id"]]["intent"] == intent_id:
            return world.store.get("checkout.session", one["id"])
    return None


def _check_open(session: Object) -> None:
    if session["status"] != "open":
        raise StripeError(f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")


def _intent_of(world: World, session: Object) -> Object:
    """Return the session's intent; the first attempt to pay makes it."""
    hidden = world.store.hidden[session["id"]]
    if hidden["intent"]:
        return world.store.get("payment_intent", hidden["intent"])
    data: dict[str, Any] = dict(hidden["intent_data"])
    intent = intents.new(
        world,
        amount=session["amount_total"],
        currency=session["currency"],
        customer=session["customer"],
        metadata=dict(data.pop("metadata")),
        types=session["payment_method_types"],
        **data,
    )
    hidden["intent"] = intent["id"]
    return intent


def _customer_details(world: World, session: Object, charge: Object) -> Object:
    customer = world.store.find("customer", session["customer"] or "") or {}
    return shape(
        "checkout.session",
        "customer_details",
        address=charge["billing_details"]["address"],
        email=session["customer_email"] or customer.get("email"),
        name=customer.get("name"),
        tax_exempt="none",
        tax_ids=[],
    )


def _intent_data(params: forms.Params) -> Object:
    data = forms.mapping(params, "payment_intent_data")
    forms.check_known(data, _INTENT_DATA)
    texts = {name: forms.text(data, name) for name in _INTENT_DATA - {"metadata"} if name in data}
    return {**texts, "metadata": forms.metadata(data)}


def _expiry(world: World, params: forms.Params) -> int:
    given = forms.integer(params, "expires_at")
    if given is None:
        return world.now() + EXPIRES_AFTER_SECONDS_MAX
    # A minute's grace, since the caller reckoned it on another clock.
    earliest = world.now() + EXPIRES_AFTER_SECONDS_MIN - 60
    latest = world.now() + EXPIRES_AFTER_SECONDS_MAX + 60
    if not earliest <= given <= latest:
        raise ParameterError(
            "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from Checkout "
            "Session creation.",
            param="expires_at",
        )
    return given


def _check_url(params: forms.Params, name: str, *, needed: bool) -> None:
    value = forms.required(params, name) if needed else forms.text(params, name)
    if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc):
        raise ParameterError("Not a valid URL", code="url_invalid", param=name)


def _lines(world: World, params: forms.Params) -> list[Object]:
    given = forms.sequence(params, "line_items")
    if not given:
        raise ParameterError(
            "Missing required param: line_items.", code="parameter_missing", param="line_items"
        )
    lines = [_line(world, one) for one in given]
    if len({line["currency"] for line in lines}) > 1:
        raise ParameterError("All line items must have one currency.", param="line_items")
    return lines


def _line(world: World, given: forms.Params) -> Object:
    forms.check_known(given, frozenset({"price", "price_data", "quantity", "adjustable_quantity"}))
    quantity = forms.integer(given, "quantity", 1, least=1) or 1
    data = forms.mapping(given, "price_data")
    if data:
        price = prices.create(world, data)
        name = forms.text(forms.mapping(data, "product_data"), "name")
    else:
        price = prices.existing(world, str(forms.required(given, "price")))
        name = None
    total = price["unit_amount"] * quantity
    return shape(
        "item",
        id=new_id("li"),
        object="item",
        amount_discount=0,
        amount_subtotal=total,
        amount_tax=0,
        amount_total=total,
        currency=price["currency"],
        description=name or "Item",
        price=price,
        quantity=quantity,
    )
