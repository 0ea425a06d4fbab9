"""Payment methods: Stripe's test cards, and SEPA mandates."""

from dataclasses import dataclass
from typing import Any

from simulators.stripe import forms
from simulators.stripe.customers import existing
from simulators.stripe.errors import ParameterError, StripeError, no_such
from simulators.stripe.shapes import Object, new_id, random_text, shape
from simulators.stripe.world import World

TYPES = ("card", "sepa_debit")

# Names that Stripe takes in a list of types, and the simulator then leaves out of what it offers.
OTHER_TYPES = ("amazon_pay", "bancontact", "eps", "ideal", "klarna", "link", "p24", "paypal", "revolut_pay")

# From this version on a caller filters with allowed_payment_method_types and can no longer dictate.
TYPES_REMOVED_IN = "2026-09-30"

WRITABLE = frozenset({"type", "card", "sepa_debit", "billing_details", "metadata", "allow_redisplay"})


@dataclass(frozen=True)
class TestMethod:
    """How a test payment method behaves when it is confirmed.

    A card pays unless `code` says how it is declined, or `asks` makes it ask for 3-D Secure.  SEPA is
    processing until a command settles it.
    """

    __test__ = False

    type: str = "card"
    brand: str = "visa"
    last4: str = "4242"
    code: str | None = None
    decline_code: str | None = None
    message: str = ""
    asks: bool = False
    disputed: bool = False


def _declined(last4: str, decline_code: str, message: str = "Your card was declined.") -> TestMethod:
    return TestMethod(last4=last4, code="card_declined", decline_code=decline_code, message=message)


_GENERIC = _declined("0002", "generic_decline")
_POOR = _declined("9995", "insufficient_funds", "Your card has insufficient funds.")
_ASKS = TestMethod(last4="3220", asks=True)

TEST_METHODS: dict[str, TestMethod] = {
    "pm_card_visa": TestMethod(),
    "pm_card_visa_debit": TestMethod(last4="5556"),
    "pm_card_mastercard": TestMethod(brand="mastercard", last4="4444"),
    "pm_card_amex": TestMethod(brand="amex", last4="8431"),
    "pm_card_de": TestMethod(last4="0016"),
    "pm_card_chargeDeclined": _GENERIC,
    "pm_card_visa_chargeDeclined": _GENERIC,
    "pm_card_chargeDeclinedInsufficientFunds": _POOR,
    "pm_card_visa_chargeDeclinedInsufficientFunds": _POOR,
    "pm_card_visa_chargeDeclinedLostCard": _declined("9987", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": _declined("9979", "stolen_card"),
    "pm_card_chargeDeclinedFraudulent": _declined("0019", "fraudulent"),
    "pm_card_chargeDeclinedExpiredCard": TestMethod(
        last4="0069",
        code="expired_card",
        decline_code="expired_card",
        message="Your card has expired.",
    ),
    "pm_card_chargeDeclinedIncorrectCvc": TestMethod(
        last4="0127",
        code="incorrect_cvc",
        decline_code="incorrect_cvc",
        message="Your card's security code is incorrect.",
    ),
    "pm_card_chargeDeclinedProcessingError": TestMethod(
        last4="0119",
        code="processing_error",
        decline_code="processing_error",
        message="An error occurred while processing your card. Try again in a little bit.",
    ),
    "pm_card_threeDSecure2Required": _ASKS,
    "pm_card_threeDSecureRequired": TestMethod(last4="3063", asks=True),
    "pm_card_authenticationRequired": TestMethod(last4="3184", asks=True),
    "pm_card_createDispute": TestMethod(last4="0259", disputed=True),
    # Stripe has no ready-made SEPA method; the simulator's own, named like the others.
    "pm_sepaDebit": TestMethod(type="sepa_debit", last4="3201"),
}
"""Stripe's test payment methods, by the name that a confirmation gives."""

CARD_NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "5555555555554444": "pm_card_mastercard",
    "4000000000000002": "pm_card_chargeDeclined",
    "4000000000009995": "pm_card_chargeDeclinedInsufficientFunds",
    "4000000000003220": "pm_card_threeDSecure2Required",
    "4000000000000259": "pm_card_createDispute",
}


def create(world: World, params: forms.Params) -> Object:
    """Make a payment method from a test token, a test card number or an IBAN."""
    forms.check_known(params, WRITABLE)
    kind = forms.one_of(params, "type", TYPES)
    if kind is None:
        raise ParameterError("Missing required param: type.", code="parameter_missing", param="type")
    return _keep(world, _test_name(kind, forms.mapping(params, kind)), params)


def offered(world: World, params: forms.Params, currency: str) -> list[str]:
    """Return the types a payment offers, as the call narrows them down.

    `allowed_payment_method_types` keeps what fits the currency.  The older `payment_method_types`
    dictates; calls in a version that no longer has it are refused with Stripe's own code.
    """
    fitting = [one for one in TYPES if one != "sepa_debit" or currency == "eur"]
    if "payment_method_types" in params:
        if world.version >= TYPES_REMOVED_IN:
            raise ParameterError(
                "The payment_method_types parameter is no longer supported in this API version. Use "
                "dynamic payment methods or allowed_payment_method_types.",
                code="payment_method_types_no_longer_supported",
                param="payment_method_types",
            )
        given = forms.sequence(params, "payment_method_types")
        unfit = [one for one in given if one not in fitting]
        if unfit:
            raise ParameterError(
                f"The payment method type {unfit[0]} is invalid for this payment.",
                param="payment_method_types",
            )
        return given
    excluded = forms.sequence(params, "excluded_payment_method_types")
    fitting = [one for one in fitting if one not in excluded]
    if "allowed_payment_method_types" not in params:
        return fitting
    allowed = forms.sequence(params, "allowed_payment_method_types")
    if unknown := [one for one in allowed if one not in (*TYPES, *OTHER_TYPES)]:
        raise ParameterError(f"Invalid type: {unknown[0]}", param="allowed_payment_method_types")
    if not set(fitting) & set(allowed):
        raise ParameterError(
            "No valid payment method types for this payment.", param="allowed_payment_method_types"
        )
    return [one for one in fitting if one in allowed]


def resolve(world: World, given: str) -> Object:
    """Return the payment method of an id; a test name makes a new one, as at Stripe.

    Raises StripeError (400, resource_missing) where there is none.
    """
    if given in TEST_METHODS:
        return _keep(world, given, {})
    method = world.store.find("payment_method", given)
    if method is None:
        error = no_such("PaymentMethod", given, "payment_method")
        error.status = 400
        raise error
    return method


def behaviour(world: World, method: Object) -> TestMethod:
    """Return how a payment method behaves."""
    return TEST_METHODS[world.store.hidden[method["id"]]["behaves"]]


def retrieve(world: World, method_id: str, params: forms.Params) -> Object:
    """Return a payment method."""
    forms.check_known(params, frozenset())
    return world.store.get("payment_method", method_id)


def attach(world: World, method_id: str, params: forms.Params) -> Object:
    """Attach a payment method to a customer."""
    forms.check_known(params, frozenset({"customer"}))
    method = resolve(world, method_id)
    method["customer"] = existing(world, forms.required(params, "customer"))["id"]
    world.emit("payment_method.attached", method)
    return method


def _test_name(kind: str, details: Object) -> str:
    if kind == "sepa_debit":
        forms.required(details, "iban")
        return "pm_sepaDebit"
    if token := details.get("token"):
        name = f"pm_card_{str(token).removeprefix('tok_')}"
    else:
        name = CARD_NUMBERS.get(str(forms.required(details, "number")), "")
    if name not in TEST_METHODS:
        raise StripeError(
            "Your card number is incorrect.", status=402, kind="card_error", code="incorrect_number"
        )
    return name


def _keep(world: World, test_name: str, params: forms.Params) -> Object:
    test = TEST_METHODS[test_name]
    details: Object
    if test.type == "card":
        details = {"card": _card(test)}
    else:
        details = {"sepa_debit": _sepa(test, generated_from={"charge": None, "setup_attempt": None})}
    method = shape(
        "payment_method",
        id=new_id("pm"),
        object="payment_method",
        allow_redisplay="unspecified",
        billing_details={
            **shape("payment_method", "billing_details"),
            **forms.mapping(params, "billing_details"),
        },
        created=world.now(),
        livemode=False,
        metadata=forms.metadata(params),
        type=test.type,
        **details,
    )
    if test.type != "card":
        del method["card"]
    return world.store.put(method, behaves=test_name)


def _card(test: TestMethod) -> Object:
    return shape(
        "payment_method",
        "card",
        brand=test.brand,
        checks={"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        country="DE",
        display_brand=test.brand,
        exp_month=12,
        exp_year=2040,
        fingerprint=random_text(16),
        funding="credit",
        last4=test.last4,
        networks={"available": [test.brand], "preferred": None},
        three_d_secure_usage={"supported": True},
    )


def _sepa(test: TestMethod, **more: Any) -> Object:
    return {
        "bank_code": "19043",
        "branch_code": "",
        "country": "AT",
        "fingerprint": random_text(16),
        "last4": test.last4,
        **more,
    }


def charge_details(method: Object, amount: int) -> Object:
    """Return a charge's `payment_method_details`."""
    if method["type"] == "sepa_debit":
        sepa = {**method["sepa_debit"], "mandate": new_id("mandate"), "expected_debit_date": None}
        del sepa["generated_from"]
        return {"type": "sepa_debit", "sepa_debit": sepa}
    card = method["card"]
    same = {
        name: card[name]
        for name in ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    }
    details = shape(
        "charge",
        "payment_method_details",
        "card",
        **same,
        amount_authorized=amount,
        extended_authorization={"status": "disabled"},
        incremental_authorization={"status": "unavailable"},
        multicapture={"status": "unavailable"},
        network=card["brand"],
        network_token={"used": False},
        overcapture={"maximum_amount_capturable": amount, "status": "unavailable"},
    )
    return {"type": "card", "card": details}
