"""Customers."""

from simulators.stripe import forms
from simulators.stripe.errors import no_such
from simulators.stripe.shapes import Object, new_id, random_text, shape
from simulators.stripe.world import World

_TEXTS = ("email", "name", "phone", "description")
_IGNORED = {
    "address",
    "shipping",
    "preferred_locales",
    "tax_exempt",
    "balance",
    "invoice_prefix",
    "invoice_settings",
    "test_clock",
    "payment_method",
}
WRITABLE = frozenset({*_TEXTS, "metadata", *_IGNORED})
LISTABLE = frozenset({"email", "created", "limit", "starting_after", "ending_before", "test_clock"})


def create(world: World, params: forms.Params) -> Object:
    """Make a customer."""
    forms.check_known(params, WRITABLE)
    customer = shape(
        "customer",
        id=new_id("cus", 14),
        object="customer",
        balance=0,
        created=world.now(),
        delinquent=False,
        invoice_prefix=random_text(8).upper(),
        invoice_settings=shape("customer", "invoice_settings"),
        livemode=False,
        metadata=forms.metadata(params),
        next_invoice_sequence=1,
        preferred_locales=[],
        tax_exempt="none",
        **{name: forms.text(params, name) for name in _TEXTS},
    )
    world.store.put(customer)
    world.emit("customer.created", customer)
    return customer


def retrieve(world: World, customer_id: str, params: forms.Params) -> Object:
    """Return a customer; of a deleted one only that it was deleted."""
    forms.check_known(params, frozenset())
    deleted = world.store.hidden.get(customer_id, {}).get("deleted")
    return deleted or world.store.get("customer", customer_id)


def existing(world: World, customer_id: str) -> Object:
    """Return a customer that a payment may name.  Raises StripeError where it is missing or deleted."""
    customer = world.store.find("customer", customer_id)
    if customer is None:
        # A customer in the body is a 400 at Stripe; a 404 is kept for the path.
        error = no_such("customer", customer_id, "customer")
        error.status = 400
        raise error
    return customer


def update(world: World, customer_id: str, params: forms.Params) -> Object:
    """Change a customer; metadata are merged."""
    forms.check_known(params, WRITABLE)
    customer = world.store.get("customer", customer_id)
    changes: Object = {name: forms.text(params, name) for name in _TEXTS if name in params}
    if "metadata" in params:
        changes["metadata"] = forms.metadata(params, customer["metadata"])
    previous = {name: customer[name] for name, value in changes.items() if customer[name] != value}
    customer.update(changes)
    world.emit("customer.updated", customer, previous)
    return customer


def delete(world: World, customer_id: str, params: forms.Params) -> Object:
    """Delete a customer; its payments stay."""
    forms.check_known(params, frozenset())
    customer = world.store.get("customer", customer_id)
    del world.store.objects["customer"][customer_id]
    world.emit("customer.deleted", customer)
    deleted = shape("deleted_customer", id=customer_id, object="customer", deleted=True)
    world.store.hidden[customer_id] = {"deleted": deleted}
    return deleted


def list_all(world: World, params: forms.Params) -> Object:
    """List customers, newest first; `email` must be equal to the letter, as at Stripe."""
    forms.check_known(params, LISTABLE)
    email = params.get("email")
    return world.store.page(
        "customer", params, "/v1/customers", lambda one: email is None or one["email"] == email
    )
