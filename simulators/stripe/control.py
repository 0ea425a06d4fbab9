"""The control API: faults, the clock, deliveries and commands over HTTP, for tests of whole processes.

POST   /_control/objects/{id}/{command}   a command, such as /_control/objects/pi_…/succeed {"amount": 100}
GET    /_control/objects                  everything there is, by resource
GET    /_control/faults                   the planned faults
POST   /_control/faults                   {"kind": "cut", "times": 1, "path": "/refunds", "method": "", "skip": 0}
DELETE /_control/faults                   none any more
POST   /_control/delay                    {"seconds": 0.1, "processingSeconds": 0.2}
POST   /_control/clock                    {"advanceSeconds": 3600}
GET    /_control/webhooks                 what waits, and what came of each attempt
POST   /_control/webhooks/{what}          pause · resume · lose · keep · deliver · repeat · reorder · drop
                                          {"events": ["evt_…"], "times": 2}
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from simulators.stripe.commands import command
from simulators.stripe.errors import ParameterError, StripeError
from simulators.stripe.shapes import Object

if TYPE_CHECKING:
    from simulators.stripe.simulator import StripeSimulator

WEBHOOK_CONTROLS = ("pause", "resume", "lose", "keep", "deliver", "repeat", "reorder", "drop")


class Control:
    """The handlers of the control API over one simulator."""

    def __init__(self, simulator: "StripeSimulator") -> None:
        self.simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        """Return the control API's routes."""
        return [
            web.post("/_control/objects/{id}/{command}", self._command),
            web.get("/_control/objects", self._objects),
            web.get("/_control/faults", self._faults),
            web.post("/_control/faults", self._add_fault),
            web.delete("/_control/faults", self._clear_faults),
            web.post("/_control/delay", self._delay),
            web.post("/_control/clock", self._clock),
            web.get("/_control/webhooks", self._webhooks),
            web.post("/_control/webhooks/{what}", self._control_webhooks),
        ]

    async def _command(self, request: web.Request) -> web.StreamResponse:
        """Carry out a command; a browser's form is sent back to the page it came from."""
        from_form = request.content_type == "application/x-www-form-urlencoded"
        options = dict(await request.post()) if from_form else await _json(request)
        simulator = self.simulator
        with simulator.world.lock:
            try:
                answer = command(
                    simulator.world, request.match_info["id"], request.match_info["command"], options
                )
                answer_text = json.dumps(answer)
            except StripeError as error:
                if from_form:
                    raise web.HTTPSeeOther(f"/?{urlencode({'problem': error.message})}") from error
                return web.json_response(error.body(), status=error.status)
            finally:
                simulator.world.store.save()
        if from_form:
            raise web.HTTPSeeOther("/")
        return web.Response(text=answer_text, content_type="application/json")

    async def _objects(self, _: web.Request) -> web.Response:
        with self.simulator.world.lock:
            return web.json_response(
                {resource: list(of.values()) for resource, of in self.simulator.world.store.objects.items()}
            )

    async def _faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [asdict(one) for one in self.simulator.faults.planned]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        body = await _json(request)
        try:
            fault = self.simulator.faults.add(**body)
        except (TypeError, ValueError) as error:
            return _bad(str(error))
        return web.json_response(asdict(fault), status=201)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.simulator.faults.clear()
        return web.json_response({"faults": []})

    async def _delay(self, request: web.Request) -> web.Response:
        body = await _json(request)
        self.simulator.faults.delay_seconds = float(body.get("seconds", 0))
        self.simulator.api.processing_seconds = float(body.get("processingSeconds", 0))
        return web.json_response(body)

    async def _clock(self, request: web.Request) -> web.Response:
        self.simulator.advance(float((await _json(request)).get("advanceSeconds", 0)))
        return web.json_response({"now": self.simulator.world.now()})

    async def _webhooks(self, _: web.Request) -> web.Response:
        webhooks = self.simulator.webhooks
        return web.json_response(
            {
                "url": webhooks.url,
                "paused": webhooks.paused,
                "losing": webhooks.losing,
                "undelivered": [_named(event) for event in webhooks.undelivered()],
                "attempts": [asdict(one) for one in webhooks.attempts],
            }
        )

    async def _control_webhooks(self, request: web.Request) -> web.Response:
        what = request.match_info["what"]
        if what not in WEBHOOK_CONTROLS:
            return _bad(f"unknown control {what}; there are {', '.join(WEBHOOK_CONTROLS)}")
        body = await _json(request)
        try:
            answer = await self._do_to_webhooks(what, body.get("events"), int(body.get("times", 1)))
        except StripeError as error:
            return web.json_response(error.body(), status=error.status)
        return web.json_response({what: answer})

    async def _do_to_webhooks(self, what: str, event_ids: list[str] | None, times: int) -> Any:
        webhooks = self.simulator.webhooks
        if what == "deliver":
            return [asdict(one) for one in await webhooks.deliver_now(event_ids)]
        if what == "drop":
            return webhooks.drop(event_ids)
        if what in ("lose", "keep"):
            webhooks.lose(what == "lose")
        elif what in ("pause", "resume"):
            getattr(webhooks, what)()
        elif not event_ids:
            raise ParameterError(f"{what} needs events", param="events")
        elif what == "reorder":
            webhooks.reorder(event_ids)
        else:
            for event_id in event_ids:
                webhooks.repeat(event_id, times)
        return True


async def _json(request: web.Request) -> dict[str, Any]:
    body = await request.text()
    return dict(json.loads(body)) if body else {}


def _named(event: Object) -> Object:
    return {"id": event["id"], "type": event["type"], "object": event["data"]["object"]["id"]}


def _bad(message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=400)
