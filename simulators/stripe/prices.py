"""Prices, as far as a Checkout line names one."""

from simulators.stripe import forms
from simulators.stripe.errors import no_such
from simulators.stripe.shapes import Object, new_id, shape
from simulators.stripe.world import World

WRITABLE = frozenset(
    {"currency", "unit_amount", "product", "product_data", "nickname", "metadata", "lookup_key", "active"}
)


def create(world: World, params: forms.Params) -> Object:
    """Make a one-time price."""
    forms.check_known(params, WRITABLE)
    return add(
        world,
        new_id("price"),
        unit_amount=forms.integer(params, "unit_amount", least=1)
        or int(forms.required(params, "unit_amount")),
        currency=str(forms.required(params, "currency")).lower(),
        product=forms.text(params, "product"),
        metadata=forms.metadata(params),
    )


def add(
    world: World,
    price_id: str,
    *,
    unit_amount: int,
    currency: str = "eur",
    product: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Object:
    """Keep a one-time price of `unit_amount` cents under an id of the caller's choice."""
    price = shape(
        "price",
        id=price_id,
        object="price",
        active=True,
        billing_scheme="per_unit",
        created=world.now(),
        currency=currency,
        livemode=False,
        metadata=metadata or {},
        product=product or new_id("prod", 14),
        tax_behavior="unspecified",
        type="one_time",
        unit_amount=unit_amount,
        unit_amount_decimal=str(unit_amount),
    )
    return world.store.put(price)


def existing(world: World, price_id: str) -> Object:
    """Return a price that a Checkout line names.  Raises StripeError (400) where there is none."""
    price = world.store.find("price", price_id)
    if price is None:
        error = no_such("price", price_id, "line_items[0][price]")
        error.status = 400
        raise error
    return price


def retrieve(world: World, price_id: str, params: forms.Params) -> Object:
    """Return a price."""
    forms.check_known(params, frozenset())
    return world.store.get("price", price_id, "price")
