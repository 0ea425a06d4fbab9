"""What can be asked next with what was answered: OpenAPI's links, for readers and for who tries it all out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from web.openapi.types import JsonObject


class Link(NamedTuple):
    """A way on from a success: `given` are parameters or fields of the body of `to`, with where their values are."""

    origin: str
    to: str
    given: Mapping[str, str]
    status: int = 200


def _each(origin: str, *targets: str, status: int = 200, **given: str) -> Iterator[Link]:
    yield from (Link(origin, to, given, status) for to in targets)


def _body(pointer: str) -> str:
    return f"$response.body#/{pointer}"


LINKS: Final = (
    *_each("creditsPackagesForSale", "creditsBuy", packageId=_body("0/id")),
    *_each("creditsBuy", "creditsOwnPurchase", id=_body("purchaseId")),
    *_each("creditsOwnPurchases", "creditsOwnPurchase", id=_body("0/id")),
    *_each("giftsCreate", "giftsLookUp", "giftsRedeem", "giftsPage", status=201, code=_body("code")),
    *_each("giftsCreate", "giftsCancel", status=201, id=_body("id")),
    *_each("giftsCreated", "giftsCancel", id=_body("0/id")),
    *_each("giftsPending", "giftsRedeem", code=_body("0/code")),
    *_each("syncActivate", "syncDeactivate", "syncChangeInterval", "syncAutoResume"),
    *_each("internalInit", "internalBalance", userId=_body("userId")),
    *_each(
        "internalGrant", "internalUse", "internalReserve", "internalRefund", userId="$request.body#/userId"
    ),
    *_each("internalGrant", "internalBalance", "operatorsOnePerson", userId="$request.body#/userId"),
    *_each("internalUse", "internalRefund", userId="$request.body#/userId", amount="$request.body#/amount"),
    *_each(
        "internalReserve", "internalCommit", "internalRefundReservation", reservationId=_body("reservationId")
    ),
    *_each("internalRefund", "jobsJob", status=202, jobId=_body("jobId")),
    *_each("internalRedeemPending", "jobsJob", status=202, jobId=_body("jobId")),
    *_each("internalChargeRecurring", "jobsJob", status=202, jobId=_body("jobId")),
    *_each("adminCreate", "creditsBuy", status=201, packageId=_body("id")),
    *_each("adminCreate", "adminChange", "adminChangePut", "adminDeactivate", status=201, id=_body("id")),
    *_each("adminCreate", "adminDeactivatePost", status=201, id=_body("id")),
    *_each("adminEveryPackage", "adminChange", "adminDeactivatePost", id=_body("0/id")),
    *_each("adminGift", "adminRevoke", "adminStatus", userId="$request.path.userId"),
    *_each(
        "operatorsListJobs", "operatorsOneJob", "operatorsRetryJob", "operatorsCancelJob", jobId=_body("0/id")
    ),
    *_each("operatorsListEvents", "operatorsOneEvent", "operatorsReplayEvent", eventId=_body("0/id")),
    *_each("operatorsListPurchases", "operatorsOnePurchase", "operatorsAskStripe", id=_body("0/id")),
    *_each("operatorsFindPeople", "operatorsOnePerson", "operatorsEntriesOfPerson", userId=_body("0/userId")),
    *_each(
        "operatorsOnePerson", "operatorsAdjustCredits", "operatorsGiftSync", userId="$request.path.userId"
    ),
    *_each("operatorsGiftSync", "operatorsRevokeSync", userId="$request.path.userId"),
    *_each(
        "operatorsDeadLetters",
        "operatorsRequeueDeadLetter",
        queue="$request.path.queue",
        messageId=_body("0/messageId"),
    ),
    *_each(
        "operatorsDeadLetters",
        "operatorsDropDeadLetter",
        queue="$request.path.queue",
        messageId=_body("0/messageId"),
    ),
)


def add_links(operations: Mapping[str, JsonObject]) -> None:
    """Write the links into the described `operations`, by their ids: those whose both ends are there."""
    for link in LINKS:
        if link.origin not in operations or link.to not in operations:
            continue
        names = {parameter["name"] for parameter in operations[link.to]["parameters"]}
        parameters = {name: value for name, value in link.given.items() if name in names}
        body = {name: value for name, value in link.given.items() if name not in names}
        response = operations[link.origin]["responses"][str(link.status)]
        response.setdefault("links", {})[link.to] = {
            "operationId": link.to,
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": body} if body else {}),
        }
