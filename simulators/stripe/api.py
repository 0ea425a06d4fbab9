"""Stripe's HTTP API: authenticates, decodes, keeps idempotency keys, and calls the nouns."""

import asyncio
import base64
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web

from simulators.faults import KEPT_FAILURE
from simulators.stripe import (
    charges,
    customers,
    disputes,
    events,
    forms,
    intents,
    methods,
    prices,
    refunds,
    sessions,
)
from simulators.stripe.errors import PLANNED_ERRORS, ParameterError, StripeError
from simulators.stripe.expansion import expand
from simulators.stripe.idempotency import Answer, Idempotency
from simulators.stripe.shapes import Object, new_id
from simulators.stripe.world import API_VERSION, World

Operation = Callable[..., Object]


def _balance_transaction(world: World, object_id: str, params: forms.Params) -> Object:
    forms.check_known(params, frozenset())
    return world.store.get("balance_transaction", object_id)


OPERATIONS: list[tuple[str, str, Operation]] = [
    ("POST", "/v1/customers", customers.create),
    ("GET", "/v1/customers", customers.list_all),
    ("GET", "/v1/customers/{id}", customers.retrieve),
    ("POST", "/v1/customers/{id}", customers.update),
    ("DELETE", "/v1/customers/{id}", customers.delete),
    ("POST", "/v1/payment_methods", methods.create),
    ("GET", "/v1/payment_methods/{id}", methods.retrieve),
    ("POST", "/v1/payment_methods/{id}/attach", methods.attach),
    ("POST", "/v1/payment_intents", intents.create),
    ("GET", "/v1/payment_intents", intents.list_all),
    ("GET", "/v1/payment_intents/{id}", intents.retrieve),
    ("POST", "/v1/payment_intents/{id}", intents.update),
    ("POST", "/v1/payment_intents/{id}/confirm", intents.confirm),
    ("POST", "/v1/payment_intents/{id}/cancel", intents.cancel),
    ("GET", "/v1/charges", charges.list_all),
    ("GET", "/v1/charges/{id}", charges.retrieve),
    ("POST", "/v1/charges/{id}", charges.update),
    ("GET", "/v1/balance_transactions/{id}", _balance_transaction),
    ("POST", "/v1/prices", prices.create),
    ("GET", "/v1/prices/{id}", prices.retrieve),
    ("POST", "/v1/checkout/sessions", sessions.create),
    ("GET", "/v1/checkout/sessions", sessions.list_all),
    ("GET", "/v1/checkout/sessions/{id}", sessions.retrieve),
    ("GET", "/v1/checkout/sessions/{id}/line_items", sessions.line_items),
    ("POST", "/v1/checkout/sessions/{id}/expire", sessions.expire),
    ("POST", "/v1/refunds", refunds.create),
    ("GET", "/v1/refunds", refunds.list_all),
    ("GET", "/v1/refunds/{id}", refunds.retrieve),
    ("POST", "/v1/refunds/{id}", refunds.update),
    ("GET", "/v1/disputes", disputes.list_all),
    ("GET", "/v1/disputes/{id}", disputes.retrieve),
    ("POST", "/v1/disputes/{id}", disputes.update),
    ("POST", "/v1/disputes/{id}/close", disputes.accept),
    ("GET", "/v1/events", events.list_all),
    ("GET", "/v1/events/{id}", events.retrieve),
]
"""Every call of Stripe's that the simulator has."""


class Api:
    """The API over one account.

    `processing_seconds` is how long a call takes after its idempotency key is claimed and before its
    effect; `calls` lists what was asked, as `POST /v1/refunds`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.idempotency = Idempotency(world)
        self.processing_seconds = 0.0
        self.calls: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes; what is not there answers Stripe's 404."""
        known = [
            web.route(method, path, self._handler(operation), allow_head=False)
            if method == "GET"
            else web.route(method, path, self._handler(operation))
            for method, path, operation in OPERATIONS
        ]
        return [*known, web.route("*", "/v1/{rest:.*}", _unknown)]

    def _handler(self, operation: Operation) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            response = await answer(request)
            response.headers["Date"] = formatdate(self.world.now(), usegmt=True)
            return response

        async def answer(request: web.Request) -> web.Response:
            request_id = new_id("req", 14)
            self.calls.append(f"{request.method} {request.path}")
            try:
                _authenticate(request)
                encoded = await request.text() if request.method == "POST" else request.query_string
                params = forms.parse(encoded)
                key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
                if key:
                    return await self._once(request, operation, params, request_id, key)
                return _respond(await self._run(request, operation, params, request_id, None))
            except StripeError as error:
                return _respond(_refused(error, request_id))

        return handle

    async def _once(
        self, request: web.Request, operation: Operation, params: forms.Params, request_id: str, key: str
    ) -> web.Response:
        headers = {"Idempotency-Key": key}
        with self.idempotency.claim(key, request.path, params) as kept:
            if kept:
                headers |= {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
                return _respond(Answer(kept.status, kept.text, request_id), headers)
            answer = await self._run(request, operation, params, request_id, key)
            return _respond(answer, headers)

    async def _run(
        self,
        request: web.Request,
        operation: Operation,
        params: forms.Params,
        request_id: str,
        key: str | None,
    ) -> Answer:
        """Do the operation and keep its answer under the key, in one go as far as others can see."""
        if self.processing_seconds:
            await asyncio.sleep(self.processing_seconds)
        with self.world.lock:
            self.world.request = {"id": request_id, "idempotency_key": key}
            self.world.version = request.headers.get("Stripe-Version", API_VERSION)
            try:
                sessions.expire_overdue(self.world)
                answer = self._answer(request, operation, params, request_id)
                if key:
                    self.idempotency.keep(key, request.path, params, answer)
            finally:
                self.world.request = {"id": None, "idempotency_key": None}
                self.world.version = API_VERSION
                if request.method != "GET":
                    self.world.store.save()
        return answer

    def _answer(
        self, request: web.Request, operation: Operation, params: forms.Params, request_id: str
    ) -> Answer:
        """Return the answer to keep.  Raises ParameterError, which is answered and not kept."""
        if failure := request.get(KEPT_FAILURE):
            return _refused(PLANNED_ERRORS[failure], request_id)
        paths = [str(path) for path in forms.sequence(params, "expand")]
        rest = {name: value for name, value in params.items() if name != "expand"}
        try:
            answer = expand(self.world, operation(self.world, *request.match_info.values(), rest), paths)
        except ParameterError:
            raise
        except StripeError as error:
            return _refused(error, request_id)
        return Answer(200, json.dumps(answer, indent=2), request_id)


def _authenticate(request: web.Request) -> None:
    """Any secret key is right; none is not."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        given = base64.b64decode(given).decode().split(":")[0]
    if scheme not in ("Basic", "Bearer") or not given.startswith(("sk_", "rk_")):
        message = f"Invalid API Key provided: {given[:8]}…" if given else "You did not provide an API key."
        raise StripeError(message, status=401)


def _refused(error: StripeError, request_id: str) -> Answer:
    return Answer(error.status, json.dumps(error.body(), indent=2), request_id)


def _respond(answer: Answer, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=answer.status,
        text=answer.text,
        content_type="application/json",
        headers={"Request-Id": answer.request_id, **(headers or {})},
    )


async def _unknown(request: web.Request) -> web.Response:
    error = StripeError(f"Unrecognized request URL ({request.method}: {request.path}).", status=404)
    return _respond(_refused(error, new_id("req", 14)))
