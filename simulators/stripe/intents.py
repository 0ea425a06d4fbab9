"""Payment intents: created, changed, confirmed, cancelled."""

from simulators.stripe import charges, disputes, forms, methods
from simulators.stripe.customers import existing
from simulators.stripe.errors import ParameterError, StripeError
from simulators.stripe.shapes import Object, new_id, random_text, shape
from simulators.stripe.world import World

# Stripe's limits for euro, in cents.
AMOUNT_MIN = 50
AMOUNT_MAX = 99_999_999

_TEXTS = ("description", "receipt_email", "statement_descriptor", "statement_descriptor_suffix")
_OFFERING = {"payment_method_types", "allowed_payment_method_types", "excluded_payment_method_types"}
_CONFIRMING = {"payment_method", "payment_method_data", "return_url", "off_session", "mandate_data"}
_IGNORED = {"shipping", "payment_method_options"}
_IGNORED_CONFIRMING = {"use_stripe_sdk", "mandate", "error_on_requires_action", "confirmation_token"}
UPDATABLE = frozenset(
    {
        "amount",
        "currency",
        "customer",
        "metadata",
        "payment_method",
        "setup_future_usage",
        *_OFFERING,
        *_TEXTS,
        *_IGNORED,
    }
)
CREATABLE = UPDATABLE.union(
    _CONFIRMING,
    _IGNORED_CONFIRMING,
    {"confirm", "automatic_payment_methods", "capture_method", "confirmation_method"},
)
CONFIRMABLE = frozenset(
    {*_CONFIRMING, *_IGNORED, *_IGNORED_CONFIRMING, "setup_future_usage", "receipt_email"}
)
LISTABLE = frozenset({"customer", "created", "limit", "starting_after", "ending_before"})

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(world: World, params: forms.Params) -> Object:
    """Make a payment intent and, with `confirm`, try to pay it at once."""
    forms.check_known(params, CREATABLE)
    amount = _amount(params)
    currency = str(forms.required(params, "currency")).lower()
    if len(currency) != 3 or not currency.isalpha():
        raise ParameterError(f"Invalid currency: {currency}.", param="currency")
    customer = forms.text(params, "customer")
    if customer:
        existing(world, customer)
    capture = forms.one_of(params, "capture_method", ("automatic", "automatic_async"), "automatic_async")
    types = methods.offered(world, params, currency)
    confirming = forms.boolean(params, "confirm")
    method = _given_method(world, params)
    _check_method(method, types, needed=confirming)
    intent = new(
        world,
        amount=amount,
        currency=currency,
        customer=customer,
        metadata=forms.metadata(params),
        types=types,
        automatic=forms.boolean(forms.mapping(params, "automatic_payment_methods"), "enabled"),
        capture_method=capture,
        **{name: forms.text(params, name) for name in (*_TEXTS, "setup_future_usage")},
    )
    if method:
        _set_method(intent, method)
    if confirming:
        return _confirm_with(world, intent, forms.text(params, "return_url"))
    return intent


def new(
    world: World,
    *,
    amount: int,
    currency: str,
    customer: str | None,
    metadata: dict[str, str],
    types: list[str],
    automatic: bool = False,
    **more: str | None,
) -> Object:
    """Keep a new payment intent that waits for a payment method, and tell of it."""
    intent_id = new_id("pi")
    intent = shape(
        "payment_intent",
        id=intent_id,
        object="payment_intent",
        amount=amount,
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        automatic_payment_methods={"enabled": True} if automatic else None,
        client_secret=f"{intent_id}_secret_{random_text(25)}",
        confirmation_method="automatic",
        created=world.now(),
        currency=currency,
        customer=customer,
        livemode=False,
        metadata=metadata,
        payment_method_options={},
        payment_method_types=types,
        status="requires_payment_method",
        **{"capture_method": "automatic_async", **more},
    )
    world.store.put(intent)
    world.emit("payment_intent.created", intent)
    return intent


def retrieve(world: World, intent_id: str, params: forms.Params) -> Object:
    """Return a payment intent; a client secret given with it must be its own."""
    forms.check_known(params, frozenset({"client_secret"}))
    intent = world.store.get("payment_intent", intent_id, "intent")
    if params.get("client_secret", intent["client_secret"]) != intent["client_secret"]:
        raise ParameterError("The client_secret provided does not match.", param="client_secret")
    return intent


def list_all(world: World, params: forms.Params) -> Object:
    """List payment intents, newest first."""
    forms.check_known(params, LISTABLE)
    customer = params.get("customer")
    return world.store.page(
        "payment_intent",
        params,
        "/v1/payment_intents",
        lambda one: customer is None or one["customer"] == customer,
    )


def update(world: World, intent_id: str, params: forms.Params) -> Object:
    """Change a payment intent; metadata and description always, the rest only before it is paid."""
    forms.check_known(params, UPDATABLE)
    intent = world.store.get("payment_intent", intent_id, "intent")
    if intent["status"] not in OPEN and not params.keys() <= {"metadata", "description", "expand"}:
        raise _unexpected_state(intent, "updated")
    if "amount" in params:
        intent["amount"] = _amount(params)
    if "customer" in params:
        intent["customer"] = existing(world, forms.required(params, "customer"))["id"]
    if params.keys() & _OFFERING:
        intent["payment_method_types"] = methods.offered(world, params, intent["currency"])
    if method := _given_method(world, params):
        _set_method(intent, method)
    intent["metadata"] = forms.metadata(params, intent["metadata"])
    intent.update({name: forms.text(params, name) for name in _TEXTS if name in params})
    return intent


def confirm(world: World, intent_id: str, params: forms.Params) -> Object:
    """Try to pay a payment intent.

    It ends `succeeded`, `processing` (SEPA) or `requires_action` (3-D Secure).  Raises the StripeError
    `card_error` (402) for a declined card: the intent then waits for another payment method.
    """
    forms.check_known(params, CONFIRMABLE)
    intent = world.store.get("payment_intent", intent_id, "intent")
    if intent["status"] not in OPEN:
        raise _unexpected_state(intent, "confirmed")
    if method := _given_method(world, params):
        _set_method(intent, method)
    return _confirm_with(world, intent, forms.text(params, "return_url"))


def _confirm_with(world: World, intent: Object, return_url: str | None) -> Object:
    method = world.store.find("payment_method", intent["payment_method"] or "")
    _check_method(method, intent["payment_method_types"], needed=True)
    assert method is not None  # noqa: S101 - _check_method refused it; this tells the type checker  # nosec B101
    test = methods.behaviour(world, method)
    if test.asks:
        return _ask(world, intent, return_url)
    if method["type"] == "sepa_debit":
        return _process(world, intent, method)
    if test.code:
        return _decline(world, intent, method, test)
    pay(world, intent, method)
    if test.disputed:
        charge = world.store.get("charge", intent["latest_charge"])
        disputes.open_dispute(world, charge, reason="fraudulent")
    return intent


def pay(world: World, intent: Object, method: Object) -> Object:
    """The card pays."""
    charge = charges.open_charge(world, intent, method)
    intent["latest_charge"] = charge["id"]
    return settle(world, intent, charge)


def settle(world: World, intent: Object, charge: Object) -> Object:
    """The charge succeeds, and so does the intent."""
    charges.succeed(world, charge)
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        last_payment_error=None,
        next_action=None,
        processing=None,
    )
    world.emit("payment_intent.succeeded", intent)
    return intent


def fail(world: World, intent: Object, error: Object) -> Object:
    """The attempt failed; the intent waits for another payment method."""
    intent.update(
        status="requires_payment_method",
        last_payment_error=error,
        payment_method=None,
        next_action=None,
        processing=None,
    )
    world.emit("payment_intent.payment_failed", intent)
    return intent


def cancel(world: World, intent_id: str, params: forms.Params) -> Object:
    """Cancel a payment intent that is not paid and not being paid."""
    forms.check_known(params, frozenset({"cancellation_reason"}))
    intent = world.store.get("payment_intent", intent_id, "intent")
    if intent["status"] not in OPEN:
        raise _unexpected_state(intent, "canceled")
    intent.update(
        status="canceled",
        canceled_at=world.now(),
        cancellation_reason=forms.text(params, "cancellation_reason"),
        next_action=None,
    )
    world.emit("payment_intent.canceled", intent)
    return intent


def _ask(world: World, intent: Object, return_url: str | None) -> Object:
    page = f"{world.public_url}/3ds/{intent['id']}"
    action: Object = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    if return_url:
        action = {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": page}}
    intent.update(status="requires_action", next_action=action, last_payment_error=None)
    world.emit("payment_intent.requires_action", intent)
    return intent


def _process(world: World, intent: Object, method: Object) -> Object:
    charge = charges.open_charge(world, intent, method)
    intent.update(status="processing", latest_charge=charge["id"], last_payment_error=None)
    charges.pend(world, charge)
    world.emit("payment_intent.processing", intent)
    return intent


def _decline(world: World, intent: Object, method: Object, test: methods.TestMethod) -> Object:
    charge = charges.open_charge(world, intent, method)
    charges.fail(world, charge, str(test.code), test.message, test.decline_code)
    intent["latest_charge"] = charge["id"]
    error = StripeError(
        test.message,
        status=402,
        kind="card_error",
        code=test.code,
        extra={"charge": charge["id"], "decline_code": test.decline_code, "payment_method": method},
    )
    fail(world, intent, dict(error.body()["error"]))
    # The answer carries the intent; the intent's own last_payment_error does not carry itself.
    error.extra = {**error.extra, "payment_intent": {**intent}}
    raise error


def _amount(params: forms.Params) -> int:
    forms.required(params, "amount")
    amount = forms.integer(params, "amount", least=1) or 0
    if amount < AMOUNT_MIN:
        raise ParameterError("Amount must be at least €0.50 eur", code="amount_too_small", param="amount")
    if amount > AMOUNT_MAX:
        raise ParameterError(
            "Amount must be no more than €999,999.99", code="amount_too_large", param="amount"
        )
    return amount


def _given_method(world: World, params: forms.Params) -> Object | None:
    if data := forms.mapping(params, "payment_method_data"):
        return methods.create(world, data)
    given = forms.text(params, "payment_method")
    return methods.resolve(world, given) if given else None


def _check_method(method: Object | None, types: list[str], *, needed: bool = False) -> None:
    if method and method["type"] not in types:
        raise ParameterError(
            f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent. "
            f"Allowed: {', '.join(types)}.",
            param="payment_method",
        )
    if needed and not method:
        raise ParameterError(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )


def _set_method(intent: Object, method: Object) -> None:
    _check_method(method, intent["payment_method_types"])
    intent.update(payment_method=method["id"], status="requires_confirmation", next_action=None)


def _unexpected_state(intent: Object, verb: str) -> StripeError:
    return StripeError(
        f"This PaymentIntent's status is {intent['status']}; it cannot be {verb}.",
        code="payment_intent_unexpected_state",
        extra={"payment_intent": intent},
    )
