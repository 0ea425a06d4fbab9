"""Disputes: the bank takes a payment back, and may give it back again."""

from simulators.stripe import charges, forms
from simulators.stripe.errors import StripeError
from simulators.stripe.shapes import Object, new_id, shape
from simulators.stripe.world import World

LISTABLE = frozenset({"charge", "payment_intent", "created", "limit", "starting_after", "ending_before"})

# What Stripe takes for a dispute in euro, in cents.
DISPUTE_FEE_CENTS = 2000
EVIDENCE_WITHIN_SECONDS = 9 * 24 * 3600
OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")


def open_dispute(
    world: World, charge: Object, *, amount: int | None = None, reason: str, inquiry: bool = False
) -> Object:
    """The cardholder's bank disputes a charge, by default for all that is not refunded.

    An inquiry takes no money yet.  A dispute of a SEPA debit is lost from the start: nobody can contest
    it.  Raises StripeError where the charge took no money or is disputed already.
    """
    if charge["status"] != "succeeded":
        raise StripeError(f"A charge that is {charge['status']} cannot be disputed.")
    if charge["disputed"]:
        raise StripeError(f"Charge {charge['id']} is disputed already.")
    amount = amount or charge["amount"] - charge["amount_refunded"]
    if not 0 < amount <= charge["amount"]:
        raise StripeError("A dispute is about a part of the charge.", param="amount")
    dispute = world.store.put(_new(world, charge, amount, reason, inquiry=inquiry))
    charge["disputed"] = True
    if inquiry:
        world.emit("charge.dispute.created", dispute)
        return dispute
    _book(world, dispute, -amount, fee=DISPUTE_FEE_CENTS)
    world.emit("charge.dispute.created", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    if dispute["payment_method_details"]["type"] == "sepa_debit":
        world.emit("charge.dispute.closed", dispute)
    return dispute


def close(world: World, dispute_id: str, *, won: bool) -> Object:
    """The bank decides.  A won dispute gives the money back; an inquiry that is won just ends.

    Raises StripeError where it has decided before.
    """
    dispute = world.store.get("dispute", dispute_id)
    if dispute["status"] not in OPEN:
        raise StripeError(f"This dispute is {dispute['status']} already.")
    if dispute["status"].startswith("warning"):
        return _end_inquiry(world, dispute, won=won)
    dispute["status"] = "won" if won else "lost"
    if won:
        _book(world, dispute, dispute["amount"], fee=0)
    world.emit("charge.dispute.closed", dispute)
    if won:
        world.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def _end_inquiry(world: World, dispute: Object, *, won: bool) -> Object:
    if won:
        dispute["status"] = "warning_closed"
        world.emit("charge.dispute.closed", dispute)
        return dispute
    # The bank was not satisfied by the answer: the inquiry becomes a dispute and takes the money.
    dispute.update(status="needs_response", is_charge_refundable=False)
    _book(world, dispute, -dispute["amount"], fee=DISPUTE_FEE_CENTS)
    world.emit("charge.dispute.updated", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def retrieve(world: World, dispute_id: str, params: forms.Params) -> Object:
    """Return a dispute."""
    forms.check_known(params, frozenset())
    return world.store.get("dispute", dispute_id)


def update(world: World, dispute_id: str, params: forms.Params) -> Object:
    """Give evidence; submitted, the bank reviews it."""
    forms.check_known(params, frozenset({"evidence", "submit", "metadata"}))
    dispute = world.store.get("dispute", dispute_id)
    dispute["metadata"] = forms.metadata(params, dispute["metadata"])
    if evidence := forms.mapping(params, "evidence"):
        dispute["evidence"].update(evidence)
        dispute["evidence_details"]["has_evidence"] = True
        if forms.boolean(params, "submit", default=True) and dispute["status"] in OPEN:
            warning = "warning_" if dispute["status"].startswith("warning") else ""
            dispute["status"] = f"{warning}under_review"
            dispute["evidence_details"]["submission_count"] += 1
    world.emit("charge.dispute.updated", dispute)
    return dispute


def accept(world: World, dispute_id: str, params: forms.Params) -> Object:
    """Give in: the dispute is lost."""
    forms.check_known(params, frozenset())
    return close(world, dispute_id, won=False)


def list_all(world: World, params: forms.Params) -> Object:
    """List disputes, newest first."""
    forms.check_known(params, LISTABLE)
    wanted = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return world.store.page(
        "dispute",
        params,
        "/v1/disputes",
        lambda one: all(one[name] == value for name, value in wanted.items()),
    )


def _new(world: World, charge: Object, amount: int, reason: str, *, inquiry: bool) -> Object:
    kind = charge["payment_method_details"]["type"]
    status = "needs_response" if kind == "card" else "lost"
    details: Object = {"type": kind, kind: {}}
    if kind == "card":
        details["card"] = {
            "brand": charge["payment_method_details"]["card"]["brand"],
            "case_type": "inquiry" if inquiry else "chargeback",
            "network": charge["payment_method_details"]["card"]["network"],
            "network_reason_code": "10.4",
        }
    return shape(
        "dispute",
        id=new_id("du"),
        object="dispute",
        amount=amount,
        balance_transactions=[],
        charge=charge["id"],
        created=world.now(),
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence=shape("dispute", "evidence", enhanced_evidence={}),
        evidence_details={
            "due_by": world.now() + EVIDENCE_WITHIN_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=inquiry,
        livemode=False,
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method_details=details,
        reason=reason,
        status="warning_needs_response" if inquiry else status,
    )


def _book(world: World, dispute: Object, amount: int, *, fee: int) -> None:
    """Add a balance transaction, whole, as disputes carry them."""
    booked = charges.book(world, dispute, amount, kind="adjustment", category="dispute", fee=fee)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], booked]
