"""What happens to payments from outside the API: people pay, banks decide, days pass."""

from collections.abc import Callable
from typing import Any

from simulators.stripe import charges, disputes, forms, intents, refunds, sessions
from simulators.stripe.errors import ParameterError, StripeError
from simulators.stripe.shapes import Object
from simulators.stripe.world import World

CARD_DECLINED_STATUS = 402


def pay(world: World, object_id: str, *, method: str = "pm_card_visa") -> Object:
    """A person confirms an intent in the app, or submits a session's page; returns the intent or session.

    A declined card is an outcome here and not an error: the intent has its `last_payment_error`.
    """
    try:
        if object_id.startswith("cs_"):
            return sessions.submit(world, object_id, method)
        return intents.confirm(world, object_id, {"payment_method": method})
    except StripeError as error:
        if error.status != CARD_DECLINED_STATUS:
            raise
        resource = "checkout.session" if object_id.startswith("cs_") else "payment_intent"
        return world.store.get(resource, object_id)


def authenticate(world: World, intent_id: str, *, succeeds: bool = True) -> Object:
    """A person finishes 3-D Secure, or fails it."""
    intent = world.store.get("payment_intent", intent_id)
    _check_status(intent, "requires_action")
    if not succeeds:
        error = StripeError(
            "We are unable to authenticate your payment method. Please choose a different payment method "
            "and try again.",
            kind="invalid_request_error",
            code="payment_intent_authentication_failure",
        )
        return intents.fail(world, intent, error.body()["error"])
    method = world.store.get("payment_method", intent["payment_method"])
    intents.pay(world, intent, method)
    sessions.finish_later(world, intent)
    return intent


def settle(world: World, intent_id: str, *, succeeds: bool = True) -> Object:
    """The bank of a SEPA debit answers, days later."""
    intent = world.store.get("payment_intent", intent_id)
    _check_status(intent, "processing")
    charge = world.store.get("charge", intent["latest_charge"])
    if succeeds:
        intents.settle(world, intent, charge)
    else:
        message = "The customer's account has insufficient funds to cover this payment."
        charges.fail(world, charge, "insufficient_funds", message)
        error = StripeError(
            message, kind="card_error", code="payment_intent_payment_attempt_failed", status=402
        )
        intents.fail(world, intent, {**error.body()["error"], "charge": charge["id"]})
    sessions.finish_later(world, intent)
    return intent


def refund(world: World, object_id: str, *, amount: int | None = None) -> Object:
    """Refund a charge or an intent from the dashboard."""
    params: forms.Params = {"payment_intent" if object_id.startswith("pi_") else "charge": object_id}
    if amount is not None:
        params["amount"] = str(amount)
    return refunds.create(world, params)


def dispute(
    world: World,
    object_id: str,
    *,
    amount: int | None = None,
    reason: str = "fraudulent",
    inquiry: bool = False,
) -> Object:
    """The bank disputes a charge or an intent's charge."""
    charge = charges.of(world, object_id)
    return disputes.open_dispute(world, charge, amount=amount, reason=reason, inquiry=inquiry)


def _check_status(intent: Object, needed: str) -> None:
    if intent["status"] != needed:
        raise StripeError(
            f"This PaymentIntent's status is {intent['status']} and not {needed}.",
            code="payment_intent_unexpected_state",
        )


Options = dict[str, Any]
Command = Callable[[World, str, Options], Object]


def _amount(options: Options) -> int | None:
    """Read cents from JSON (a number) or from a form (text)."""
    given = options.get("amount")
    return forms.integer({"amount": str(given)}, "amount", least=1) if given not in (None, "") else None


COMMANDS: dict[tuple[str, str], Command] = {
    ("pi", "pay"): lambda w, i, o: pay(w, i, method=str(o.get("method", "pm_card_visa"))),
    ("cs", "pay"): lambda w, i, o: pay(w, i, method=str(o.get("method", "pm_card_visa"))),
    ("cs", "expire"): lambda w, i, _: sessions.expire(w, i, {}),
    ("pi", "authenticate"): lambda w, i, _: authenticate(w, i),
    ("pi", "refuse_authentication"): lambda w, i, _: authenticate(w, i, succeeds=False),
    ("pi", "succeed"): lambda w, i, _: settle(w, i),
    ("pi", "fail"): lambda w, i, _: settle(w, i, succeeds=False),
    ("pi", "cancel"): lambda w, i, _: intents.cancel(w, i, {}),
    ("pi", "refund"): lambda w, i, o: refund(w, i, amount=_amount(o)),
    ("ch", "refund"): lambda w, i, o: refund(w, i, amount=_amount(o)),
    ("pi", "dispute"): lambda w, i, o: dispute(w, i, amount=_amount(o), inquiry=bool(o.get("inquiry"))),
    ("ch", "dispute"): lambda w, i, o: dispute(w, i, amount=_amount(o), inquiry=bool(o.get("inquiry"))),
    ("re", "succeed"): lambda w, i, _: refunds.succeed(w, i),
    ("re", "fail"): lambda w, i, _: refunds.fail(w, i),
    ("du", "win"): lambda w, i, _: disputes.close(w, i, won=True),
    ("du", "lose"): lambda w, i, _: disputes.close(w, i, won=False),
}
"""Commands by name, by the prefix of the id they are given to, for the control API and the pages."""


def command(world: World, object_id: str, name: str, options: Options) -> Object:
    """Carry out a command by name.  Raises StripeError where there is none for such an object."""
    prefix = object_id.split("_", 1)[0]
    if (prefix, name) not in COMMANDS:
        names = sorted(known for known_prefix, known in COMMANDS if known_prefix == prefix)
        raise ParameterError(f"No command {name} for {object_id}; there are: {', '.join(names)}")
    return COMMANDS[prefix, name](world, object_id, options)
