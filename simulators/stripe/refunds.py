"""Refunds, within Stripe's own limits."""

from simulators.stripe import charges, forms
from simulators.stripe.errors import ParameterError, StripeError
from simulators.stripe.shapes import Object, new_id, shape
from simulators.stripe.world import World

CREATABLE = frozenset(
    {"charge", "payment_intent", "amount", "reason", "metadata", "instructions_email", "currency"}
)
LISTABLE = frozenset({"charge", "payment_intent", "created", "limit", "starting_after", "ending_before"})
REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(world: World, params: forms.Params) -> Object:
    """Refund a charge, or what an intent's charge took, wholly or in part.

    Raises StripeError: nothing to refund, all refunded, more than what is left, or charged back.
    """
    forms.check_known(params, CREATABLE)
    charge = _charge_of(world, params)
    amount = _amount(params, charge)
    card = charge["payment_method_details"]["type"] == "card"
    refund = shape(
        "refund",
        id=new_id("re"),
        object="refund",
        amount=amount,
        charge=charge["id"],
        created=world.now(),
        currency=charge["currency"],
        destination_details={"type": "card", "card": {"type": "refund"}}
        if card
        else {"type": "sepa_debit", "sepa_debit": {}},
        metadata=forms.metadata(params),
        payment_intent=charge["payment_intent"],
        reason=forms.one_of(params, "reason", REASONS),
        # A bank transfer back takes days: such a refund is pending until a command ends it.
        status="succeeded" if card else "pending",
    )
    refund["balance_transaction"] = charges.book(
        world, refund, -amount, kind="refund", category="refund", description="REFUND FOR CHARGE"
    )["id"]
    world.store.put(refund)
    world.emit("refund.created", refund)
    _count(world, charge, amount, "charge.refunded")
    return refund


def retrieve(world: World, refund_id: str, params: forms.Params) -> Object:
    """Return a refund."""
    forms.check_known(params, frozenset())
    return world.store.get("refund", refund_id)


def update(world: World, refund_id: str, params: forms.Params) -> Object:
    """Change a refund's metadata."""
    forms.check_known(params, frozenset({"metadata"}))
    refund = world.store.get("refund", refund_id)
    _change(world, refund, metadata=forms.metadata(params, refund["metadata"]))
    return refund


def list_all(world: World, params: forms.Params) -> Object:
    """List refunds, newest first."""
    forms.check_known(params, LISTABLE)
    wanted = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return world.store.page(
        "refund",
        params,
        "/v1/refunds",
        lambda one: all(one[name] == value for name, value in wanted.items()),
    )


def succeed(world: World, refund_id: str) -> Object:
    """The money of a pending refund arrived."""
    refund = world.store.get("refund", refund_id)
    _check_status(refund, "pending")
    _change(world, refund, status="succeeded")
    return refund


def fail(world: World, refund_id: str, reason: str = "lost_or_stolen_card") -> Object:
    """The money of a refund came back: the charge counts as not refunded by that much."""
    refund = world.store.get("refund", refund_id)
    _check_status(refund, "pending", "succeeded")
    charge = world.store.get("charge", refund["charge"])
    back = charges.book(world, refund, refund["amount"], kind="refund_failure", category="refund_failure")
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    _change(
        world,
        refund,
        status="failed",
        failure_reason=reason,
        failure_balance_transaction=back["id"],
    )
    world.emit("refund.failed", refund)
    return refund


def _change(world: World, refund: Object, **changes: object) -> None:
    previous = {name: refund.get(name) for name in changes}
    refund.update(changes)
    # Stripe sends the old name of this event to this day.
    world.emit("charge.refund.updated", refund, previous)
    world.emit("refund.updated", refund, previous)


def _count(world: World, charge: Object, amount: int, event_type: str) -> None:
    previous = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    world.emit(event_type, charge, previous)


def _check_status(refund: Object, *allowed: str) -> None:
    if refund["status"] not in allowed:
        raise StripeError(f"This refund is {refund['status']}, not {' or '.join(allowed)}.")


def _charge_of(world: World, params: forms.Params) -> Object:
    if charge_id := forms.text(params, "charge"):
        charge = world.store.get("charge", charge_id, "charge")
    elif intent_id := forms.text(params, "payment_intent"):
        intent = world.store.get("payment_intent", intent_id, "payment_intent")
        charge = world.store.find("charge", intent["latest_charge"] or "") or {"status": "missing"}
    else:
        raise ParameterError("One of the following params should be provided: payment_intent or charge.")
    if charge["status"] != "succeeded":
        raise StripeError(
            "This payment does not have a successful charge to refund.",
            code="charge_not_refundable" if charge_id else "payment_intent_unexpected_state",
        )
    if any(one["charge"] == charge["id"] and charged_back(one) for one in world.store.all("dispute")):
        raise StripeError(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    return charge


def charged_back(dispute: Object) -> bool:
    """Tell whether a dispute has taken its charge's money, so that it cannot be refunded as well."""
    return not dispute["is_charge_refundable"] and dispute["status"] != "won"


def _amount(params: forms.Params, charge: Object) -> int:
    left = charge["amount"] - charge["amount_refunded"]
    if left == 0:
        raise StripeError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = forms.integer(params, "amount", left, least=1) or left
    if amount > left:
        raise ParameterError(
            f"Refund amount (€{amount / 100:.2f}) is greater than unrefunded amount on charge "
            f"(€{left / 100:.2f})",
            param="amount",
        )
    return amount
