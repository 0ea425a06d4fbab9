"""Charges: one attempt to take money for a payment intent; and the balance's transactions."""

from simulators.stripe import forms, methods
from simulators.stripe.shapes import Object, list_of, new_id, shape
from simulators.stripe.world import World

LISTABLE = frozenset({"customer", "payment_intent", "created", "limit", "starting_after", "ending_before"})
UPDATABLE = frozenset({"metadata", "description", "receipt_email"})

# Roughly what Stripe takes from a European card: 1.5 % and 25 cents.
FEE_PERCENT = 1.5
FEE_CENTS = 25

AVAILABLE_AFTER_SECONDS = 7 * 24 * 3600


def open_charge(world: World, intent: Object, method: Object) -> Object:
    """Make a pending charge for all of the intent's amount; the caller says how it ends."""
    charge_id = new_id("ch")
    return world.store.put(
        shape(
            "charge",
            id=charge_id,
            object="charge",
            amount=intent["amount"],
            amount_captured=0,
            amount_refunded=0,
            billing_details=dict(method["billing_details"]),
            captured=False,
            created=world.now(),
            currency=intent["currency"],
            customer=intent["customer"],
            description=intent["description"],
            disputed=False,
            fraud_details={},
            livemode=False,
            metadata=dict(intent["metadata"]),
            outcome=shape("charge", "outcome", type="authorized", network_status="approved_by_network"),
            paid=False,
            payment_intent=intent["id"],
            payment_method=method["id"],
            payment_method_details=methods.charge_details(method, intent["amount"]),
            receipt_email=intent["receipt_email"],
            receipt_url=f"{world.public_url}/receipts/{charge_id}",
            refunded=False,
            status="pending",
        )
    )


def succeed(world: World, charge: Object) -> None:
    """The money is taken."""
    charge.update(status="succeeded", paid=True, captured=True, amount_captured=charge["amount"])
    if charge["payment_method_details"]["type"] == "card":
        # Stripe captures cards asynchronously: the balance transaction comes with charge.updated.
        world.emit("charge.succeeded", charge)
        charge["balance_transaction"] = _settle(world, charge)
        world.emit("charge.updated", charge, {"balance_transaction": None})
    else:
        charge["balance_transaction"] = _settle(world, charge)
        world.emit("charge.succeeded", charge)


def pend(world: World, charge: Object) -> None:
    """The money is asked for and comes in days, if it comes."""
    charge["captured"] = True
    world.emit("charge.pending", charge)


def fail(world: World, charge: Object, code: str, message: str, decline_code: str | None = None) -> None:
    """The money does not come."""
    charge.update(status="failed", paid=False, captured=False, failure_code=code, failure_message=message)
    charge["outcome"] = shape(
        "charge",
        "outcome",
        type="issuer_declined",
        network_status="declined_by_network",
        reason=decline_code,
        seller_message=message,
    )
    world.emit("charge.failed", charge)


def retrieve(world: World, charge_id: str, params: forms.Params) -> Object:
    """Return a charge."""
    forms.check_known(params, frozenset())
    return world.store.get("charge", charge_id)


def update(world: World, charge_id: str, params: forms.Params) -> Object:
    """Change what may be changed of a charge."""
    forms.check_known(params, UPDATABLE)
    charge = world.store.get("charge", charge_id)
    previous = {name: charge[name] for name in UPDATABLE & params.keys()}
    charge.update({name: forms.text(params, name) for name in params.keys() & (UPDATABLE - {"metadata"})})
    if "metadata" in params:
        charge["metadata"] = forms.metadata(params, charge["metadata"])
    world.emit("charge.updated", charge, previous)
    return charge


def list_all(world: World, params: forms.Params) -> Object:
    """List charges, newest first."""
    forms.check_known(params, LISTABLE)
    wanted = {name: params[name] for name in ("customer", "payment_intent") if name in params}
    return world.store.page(
        "charge",
        params,
        "/v1/charges",
        lambda one: all(one[name] == value for name, value in wanted.items()),
    )


def refunds_of(world: World, charge: Object) -> Object:
    """Return a charge's refunds as the list that `expand[]=refunds` shows."""
    found = [one for one in reversed(world.store.all("refund")) if one["charge"] == charge["id"]]
    return list_of(found[:10], f"/v1/charges/{charge['id']}/refunds", has_more=len(found) > 10)


def of(world: World, object_id: str) -> Object:
    """Return the charge of a charge's or a payment intent's id.  Raises StripeError where there is none."""
    if object_id.startswith("pi_"):
        intent = world.store.get("payment_intent", object_id)
        return world.store.get("charge", intent["latest_charge"] or "")
    return world.store.get("charge", object_id)


def book(
    world: World,
    source: Object,
    amount: int,
    *,
    kind: str,
    category: str,
    fee: int = 0,
    description: str | None = None,
) -> Object:
    """Keep a balance transaction of `amount` cents (negative: money goes out) less `fee` cents."""
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": source["currency"],
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    return world.store.put(
        shape(
            "balance_transaction",
            id=new_id("txn"),
            object="balance_transaction",
            amount=amount,
            available_on=world.now() + AVAILABLE_AFTER_SECONDS,
            balance_type="payments",
            created=world.now(),
            currency=source["currency"],
            description=description,
            fee=fee,
            fee_details=details if fee else [],
            net=amount - fee,
            reporting_category=category,
            source=source["id"],
            status="pending",
            type=kind,
        )
    )


def _settle(world: World, charge: Object) -> str:
    fee = round(charge["amount"] * FEE_PERCENT / 100) + FEE_CENTS
    booked = book(
        world,
        charge,
        charge["amount"],
        kind="charge",
        category="charge",
        fee=fee,
        description=charge["description"],
    )
    return str(booked["id"])
