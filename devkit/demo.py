"""The screen that `./dev up` ends its start with: addresses, a token, three requests to paste."""

import http.client
import json
import urllib.request
from typing import Any

from devkit.errors import DevError
from devkit.plan import Plan

USER = "demo"
EMAIL = "demo@example.com"
CREDITS = 1_000
TOKEN_SECONDS = 30 * 24 * 3600
REQUEST_TIMEOUT_SECONDS = 10.0


def service_key(plan: Plan) -> str:
    """The key for internal calls; of several, the first."""
    return plan.environment["MANA_SERVICE_KEY"].split(",")[0].strip()


def give_credits(plan: Plan) -> None:
    """Grant the demo user their credits; once, however often the service is started."""
    body = {"userId": USER, "amount": CREDITS, "reason": "demo", "referenceId": "dev-up-demo"}
    _post(f"{plan.url}/api/v1/internal/credits/grant", body, {"X-Service-Key": service_key(plan)})


def make_token(plan: Plan) -> str | None:
    """A token for the demo user; None where mana-auth is a real one, which signs its own."""
    if "auth" not in plan.urls:
        return None
    body = {"sub": USER, "email": EMAIL, "ttlSeconds": TOKEN_SECONDS}
    return str(_post(f"{plan.urls['auth']}/token", body, {})["token"])


def make_checkout(plan: Plan, token: str | None) -> str | None:
    """A page of the Stripe simulator where the demo user buys the first package that is for sale.

    None where Stripe is a real one, or nothing is for sale.
    """
    if token is None or "stripe" not in plan.urls:
        return None
    api = f"{plan.url}/api/v1/credits"
    on_sale = _ask(urllib.request.Request(f"{api}/packages"))  # noqa: S310  # our own http address
    if not on_sale:
        return None
    back = plan.environment.get("BASE_URL") or f"http://localhost:{plan.port}"
    body = {"packageId": on_sale[0]["id"], "successUrl": f"{back.rstrip('/')}/docs"}
    return str(_post(f"{api}/purchase", body, {"Authorization": f"Bearer {token}"})["checkoutUrl"])


def screen(plan: Plan, token: str | None, checkout: str | None) -> str:
    """What the newcomer reads when all answers."""
    lines = ["", f"  mana-credits answers at {plan.url}", ""]
    names = {
        "docs": "API reference",
        "stripe": "Stripe simulator",
        "auth": "mana-auth simulator",
        "notify": "Notifications sent",
    }
    lines += [f"  {title:<20} {plan.urls[name]}" for name, title in names.items() if name in plan.urls]
    lines += [f"  {'Data and logs':<20} {plan.data_dir}", ""]
    if checkout is not None:
        lines += [f"  Buy credits as {USER!r}, with a card that costs nothing: {checkout}", ""]
    if token is None:
        lines += ["  Tokens come from MANA_AUTH_URL. With the service key:", ""]
    else:
        lines += [
            f"  The user {USER!r} has {CREDITS:,} credits to begin with. To read the balance, to spend,",
            "  and to be given more by another service:",
            "",
        ]
    return "\n".join([*lines, *_requests(plan, token), ""])


def _requests(plan: Plan, token: str | None) -> list[str]:
    api = f"{plan.url}/api/v1"
    as_json = "-H 'Content-Type: application/json'"
    grant = {"userId": USER, "amount": 10, "reason": "welcome", "referenceId": "first-steps"}
    lines = [
        f"curl -sS {api}/internal/credits/grant -H 'X-Service-Key: {service_key(plan)}' {as_json}"
        f" -d '{json.dumps(grant)}'"
    ]
    if token is not None:
        bearer = f"-H 'Authorization: Bearer {token}'"
        spend = {"amount": 5, "appId": "demo", "description": "My first spend"}
        lines = [
            f"curl -sS {api}/credits/balance {bearer}",
            f"curl -sS {api}/credits/use {bearer} {as_json} -d '{json.dumps(spend)}'",
            *lines,
        ]
    return [text for line in lines for text in (line, "")]


def _post(url: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """POST JSON to one of our own processes.  Raises DevError when it does not answer with success."""
    request = urllib.request.Request(  # noqa: S310  # our own http address
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    answer: dict[str, Any] = _ask(request)
    return answer


def _ask(request: urllib.request.Request) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
            return json.load(response)
    except (OSError, http.client.HTTPException) as error:
        raise DevError(f"{request.get_method()} {request.full_url} failed: {error}") from error
