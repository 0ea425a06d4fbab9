"""Events, as the API lists them: for thirty days, newest first."""

from simulators.stripe import forms
from simulators.stripe.errors import ParameterError, no_such
from simulators.stripe.shapes import Object
from simulators.stripe.world import World

LISTABLE = frozenset(
    {"created", "type", "types", "delivery_success", "limit", "starting_after", "ending_before"}
)

# Stripe forgets events after thirty days.
KEPT_SECONDS = 30 * 24 * 3600


def retrieve(world: World, event_id: str, params: forms.Params) -> Object:
    """Return an event."""
    forms.check_known(params, frozenset())
    event = world.store.get("event", event_id)
    if not _kept(world, event):
        raise no_such("event", event_id)
    return event


def list_all(world: World, params: forms.Params) -> Object:
    """List events, newest first: `type`, `types[]` (`charge.*` takes a whole family), `created[…]`."""
    forms.check_known(params, LISTABLE)
    if "type" in params and "types" in params:
        raise ParameterError("You may only specify one of these parameters: type, types.", param="types")
    types = [params["type"]] if "type" in params else forms.sequence(params, "types")
    return world.store.page(
        "event", params, "/v1/events", lambda one: _kept(world, one) and _is_of(one, types)
    )


def forget_old(world: World) -> None:
    """Drop the delivered events that the API lists no more, so that a kept store does not grow for ever."""
    store = world.store
    old = [one["id"] for one in store.all("event") if not _kept(world, one)]
    gone = [event_id for event_id in old if not store.hidden.get(event_id, {}).get("deliveries")]
    for event_id in gone:
        del store.objects["event"][event_id]
        store.hidden.pop(event_id, None)
    if gone:
        store.begin_anew()


def _kept(world: World, event: Object) -> bool:
    return bool(event["created"] > world.now() - KEPT_SECONDS)


def _is_of(event: Object, types: list[str]) -> bool:
    if not types:
        return True
    return any(
        event["type"] == one or (one.endswith("*") and event["type"].startswith(one.removesuffix("*")))
        for one in types
    )
