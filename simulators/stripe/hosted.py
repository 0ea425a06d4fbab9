"""The pages: Checkout's, where a person pays; 3-D Secure's; and an index of everything with buttons."""

from typing import TYPE_CHECKING

from aiohttp import web

from simulators.pages import page
from simulators.stripe import refunds, sessions
from simulators.stripe.errors import StripeError
from simulators.stripe.shapes import Object

if TYPE_CHECKING:
    from simulators.stripe.simulator import StripeSimulator

# The index is for looking at; a load test's thousands would only make it slow.
SHOWN_MAX = 50

BUTTONS = {
    "pay": "pm_card_visa",
    "decline": "pm_card_chargeDeclined",
    "sepa": "pm_sepaDebit",
    "three_d_secure": "pm_card_threeDSecure2Required",
}
"""What the buttons of the Checkout page pay with."""


class Hosted:
    """The handlers of the pages over one simulator."""

    def __init__(self, simulator: "StripeSimulator") -> None:
        self.simulator = simulator
        self.world = simulator.world

    def routes(self) -> list[web.RouteDef]:
        """Return the pages' routes."""
        return [
            web.get("/", self._index),
            web.get("/health", _health),
            web.get("/c/pay/{id}", self._checkout),
            web.post("/c/pay/{id}", self._press),
            web.get("/3ds/{id}", self._challenge),
            web.post("/3ds/{id}", self._answer_challenge),
        ]

    async def _checkout(self, request: web.Request) -> web.Response:
        session = self._session(request)
        return self._checkout_page(session)

    def _checkout_page(self, session: Object, error: str = "") -> web.Response:
        lines = self.world.store.hidden[session["id"]]["lines"]
        return page("checkout", 402 if error else 200, session=session, lines=lines, error=error)

    async def _press(self, request: web.Request) -> web.Response:
        """A button of the Checkout page: pay, decline, sepa, three_d_secure or leave."""
        session = self._session(request)
        button = str((await request.post()).get("button", ""))
        if button == "leave":
            raise web.HTTPSeeOther(session["cancel_url"] or session["success_url"])
        if button not in BUTTONS or session["status"] != "open":
            return self._checkout_page(session)
        session = self.simulator.pay(session["id"], BUTTONS[button])
        intent = self.simulator.get(self.world.store.hidden[session["id"]]["intent"])
        if session["status"] == "complete":
            raise web.HTTPSeeOther(_success_url(session))
        if intent["status"] == "requires_action":
            raise web.HTTPSeeOther(f"/3ds/{intent['id']}")
        return self._checkout_page(session, error=intent["last_payment_error"]["message"])

    async def _challenge(self, request: web.Request) -> web.Response:
        return page("challenge", intent=self._intent(request))

    async def _answer_challenge(self, request: web.Request) -> web.Response:
        intent = self._intent(request)
        succeeds = (await request.post()).get("button") == "complete"
        if intent["status"] == "requires_action":
            return_url = (intent["next_action"].get("redirect_to_url") or {}).get("return_url")
            intent = self.simulator.authenticate(intent["id"], succeeds=succeeds)
        else:
            return_url = None
        with self.world.lock:
            session = sessions.session_of(self.world, intent["id"])
        if session is None:
            raise web.HTTPSeeOther(return_url or "/")
        if session["status"] == "complete":
            raise web.HTTPSeeOther(_success_url(session))
        return self._checkout_page(session, error=(intent["last_payment_error"] or {}).get("message", ""))

    async def _index(self, request: web.Request) -> web.Response:
        with self.world.lock:
            store = self.world.store
            return page(
                "stripe",
                problem=request.query.get("problem", ""),
                charged_back={one["charge"] for one in store.all("dispute") if refunds.charged_back(one)},
                intents=store.all("payment_intent")[: -SHOWN_MAX - 1 : -1],
                sessions=[one for one in store.all("checkout.session") if one["status"] == "open"][::-1],
                charges=store.objects.get("charge", {}),
                refunds=store.all("refund")[: -SHOWN_MAX - 1 : -1],
                disputes=store.all("dispute")[: -SHOWN_MAX - 1 : -1],
                events=store.all("event")[: -SHOWN_MAX - 1 : -1],
                waiting={event["id"] for event in self.simulator.webhooks.undelivered()},
                webhooks=self.simulator.webhooks,
            )

    def _session(self, request: web.Request) -> Object:
        return self._get("checkout.session", request)

    def _intent(self, request: web.Request) -> Object:
        return self._get("payment_intent", request)

    def _get(self, resource: str, request: web.Request) -> Object:
        self.simulator.advance(0)
        try:
            return self.world.store.get(resource, request.match_info["id"])
        except StripeError as error:
            raise web.HTTPNotFound(text=error.message) from error


def _success_url(session: Object) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
