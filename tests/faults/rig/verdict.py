"""What is wrong, from the clients' records, Stripe's own and the database alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from domain import invariants
from domain.database import make_engine
from tests.faults.rig.clients import HOT
from tests.faults.rig.history import NEVER, Operation, Seen, check
from tests.faults.rig.records import Record, Records, Told
from tests.support.books import Books


@dataclass
class Verdict:
    """What was found, by the name of what was checked; and how much there was to check."""

    found: dict[str, list[str]] = field(default_factory=dict)
    checked: Counter[str] = field(default_factory=Counter)

    def say(self, what: str, checked: int, wrong: Iterable[str]) -> None:
        self.checked[what] += checked
        self.found.setdefault(what, []).extend(wrong)

    @property
    def findings(self) -> list[str]:
        return [f"{what}: {one}" for what, wrong in self.found.items() for one in wrong]


@dataclass
class Evidence:
    """Everything a verdict is made from."""

    records: Records
    books: Books
    stripe: dict[str, list[dict[str, Any]]]
    due: dict[str, bool]
    """Who was due for a renewal during the run, and whether they could pay."""
    notices: list[dict[str, Any]]

    @cached_property
    def gone(self) -> set[str]:
        """Who was erased, or may have been; found once, for every check asks."""
        return {record.user_id for record in self.records.of("erase") if record.may_be_there}


def judge(evidence: Evidence) -> Verdict:
    """Everything that can be checked."""
    verdict = Verdict()
    verdict.say("answers", len(evidence.records.all), evidence.records.defects)
    checks: tuple[Callable[[Evidence, Verdict], None], ...] = (
        _uses,
        _refunds,
        _grants,
        _reservations,
        _gifts,
        _redemptions,
        _pending,
        _purchases,
        _subscriptions,
        _renewals,
        _erasures,
        _jobs,
        _histories,
        _invariants,
    )
    for one in checks:
        one(evidence, verdict)
    return verdict


# Uses


@dataclass(frozen=True)
class Use:
    """A use, alone or an item of a batch."""

    name: str
    user_id: str
    amount: Decimal
    record: Record
    told: Told
    transaction: dict[str, Any] | None
    left: dict[str, Any] | None
    details: dict[str, Any] | None


def uses_of(records: Records) -> list[Use]:
    """Every use that was asked for."""
    found = []
    for record in records.of("use"):
        answer = record.answer or {}
        found.append(_use(record.name, record.user_id, record.asked, record, record.told, answer))
    for record in records.of("use/batch"):
        answers = (record.answer or {}).get("results") or [{}] * len(record.asked["items"])
        for item, answer in zip(record.asked["items"], answers, strict=True):
            told = _told_of_item(record, answer)
            found.append(_use(item["description"], item["userId"], item, record, told, answer))
    return found


def _use(
    name: str, user_id: str, asked: dict[str, Any], record: Record, told: Told, answer: dict[str, Any]
) -> Use:
    known = answer if told is Told.OK else {}
    details = answer.get("details") if told is Told.REFUSED else None
    amount = Decimal(str(asked["amount"]))
    return Use(
        name, user_id, amount, record, told, known.get("transaction"), known.get("newBalance"), details
    )


def _told_of_item(record: Record, answer: dict[str, Any]) -> Told:
    if record.told is not Told.OK:
        return record.told
    if answer["statusCode"] == 200:
        return Told.OK
    was_tried_before = any(one != "200" and one != "not sent" for one in record.tries)
    return Told.UNKNOWN if was_tried_before or answer["statusCode"] >= 500 else Told.REFUSED


def named(
    what: str, asked: dict[str, tuple[Told, Record]], there: list[tuple[str, Any]], gone: set[str]
) -> list[str]:
    """Every ok once, every refusal not, every unknown once or not, nothing that nobody asked for."""
    counts = Counter(name for name, _ in there)
    wrong = [f"{what} {name} is there {count} times" for name, count in counts.items() if count > 1]
    wrong += [f"{what} {name} is there, and nobody asked" for name in counts if name not in asked]
    for name, (told, record) in asked.items():
        if record.user_id in gone:
            continue
        if told is Told.OK and name not in counts:
            wrong.append(f"{what} {name} of {record.user_id} was told ok ({record.tries}) and is not there")
        if told is Told.REFUSED and name in counts:
            wrong.append(
                f"{what} {name} of {record.user_id} was refused ({record.tries} {record.answer}) and is there"
            )
    return wrong


def _uses(evidence: Evidence, verdict: Verdict) -> None:
    uses = uses_of(evidence.records)
    rows = evidence.books.rows(
        "SELECT description, id::text, amount, balance_after, user_id FROM credits.transactions"
        " WHERE type = 'usage' AND app_id = 'rig' AND user_id NOT LIKE 'erased-%%'"
        " AND coalesce(posting_key, '') NOT LIKE 'commit:%%'"
    )
    asked = {use.name: (use.told, use.record) for use in uses}
    wrong = named("use", asked, [(row[0], row) for row in rows], evidence.gone)
    entries = {row[0]: row for row in rows}
    for use in uses:
        entry = entries.get(use.name)
        if entry is None or use.user_id in evidence.gone:
            continue
        if (-entry[2], entry[4]) != (use.amount, use.user_id):
            wrong.append(f"use {use.name} asked for {use.amount} of {use.user_id}, the entry says {entry}")
        told = use.transaction
        if told is not None and (told["id"], Decimal(str(told["balanceAfter"]))) != (entry[1], entry[3]):
            wrong.append(f"use {use.name} was told {told}, the entry says {entry}")
    verdict.say("uses", len(uses), wrong)
    unknown = [use for use in uses if use.told is Told.UNKNOWN and use.user_id not in evidence.gone]
    verdict.say("unknown uses", len(unknown), [])
    verdict.say("unknown uses that took effect", sum(use.name in entries for use in unknown), [])


def _refunds(evidence: Evidence, verdict: Verdict) -> None:
    jobs = dict(evidence.books.rows("SELECT id::text, state FROM ops.jobs WHERE kind = 'refund_credits'"))
    rows = evidence.books.rows(
        "SELECT description, amount, user_id FROM credits.transactions WHERE type = 'refund' AND app_id = 'system'"
    )
    asked = {}
    wrong = []
    for record in evidence.records.of("refund"):
        told = record.told
        if told is Told.ACCEPTED:
            state = jobs.get(record.answer["jobId"])
            if state is None:
                wrong.append(f"refund {record.name} was accepted, and its job is not there")
            told = Told.OK if state == "done" else Told.REFUSED
        asked[record.name] = (told, record)
    wrong += named("refund", asked, [(row[0], row) for row in rows], evidence.gone)
    verdict.say("refunds", len(asked), wrong + _differing("refund", asked, rows))


def _grants(evidence: Evidence, verdict: Verdict) -> None:
    rows = evidence.books.rows(
        "SELECT metadata ->> 'referenceId', amount, user_id FROM credits.transactions"
        " WHERE type = 'grant' AND user_id NOT LIKE 'erased-%%' AND user_id NOT LIKE 'due-%%'"
    )
    asked = {record.name: (record.told, record) for record in evidence.records.of("grant")}
    wrong = named("grant", asked, [(row[0], row) for row in rows], evidence.gone)
    verdict.say("grants", len(asked), wrong + _differing("grant", asked, rows))


def _differing(what: str, asked: dict[str, tuple[Told, Record]], rows: list[tuple[Any, ...]]) -> list[str]:
    """Entries over another amount, or of another person, than was asked for."""
    return [
        f"{what} {name} asked for {asked[name][1].asked}, the entry is over {amount} of {user_id}"
        for name, amount, user_id in rows
        if name in asked
        and (amount, user_id) != (Decimal(str(asked[name][1].asked["amount"])), asked[name][1].user_id)
    ]


# Reservations


def _reservations(evidence: Evidence, verdict: Verdict) -> None:
    rows = evidence.books.rows(
        "SELECT reason, id::text, status, is_expired FROM credits.reservations WHERE user_id NOT LIKE 'erased-%%'"
    )
    asked = {f"rig:{one.name}": (one.told, one) for one in evidence.records.of("reserve")}
    wrong = named("reservation", asked, [(row[0], row) for row in rows], evidence.gone)
    status = {row[1]: row[2] for row in rows}
    ways: dict[str, list[Record]] = defaultdict(list)
    for record in evidence.records.of("commit", "refund-reservation"):
        ways[record.asked["reservationId"]].append(record)
    for reservation_id, records in ways.items():
        now = status.get(reservation_id)
        oks = [record for record in records if record.told is Told.OK]
        ends = {"commit": "committed", "refund-reservation": "refunded"}
        wrong += [
            f"reservation {reservation_id}: {record.kind} {record.name} was told ok, and it is {now}"
            for record in oks
            if ends[record.kind] != now
        ]
        if len(oks) > 1:
            wrong.append(f"reservation {reservation_id} was resolved {len(oks)} times")
        if now == "committed" and all(r.told is Told.REFUSED for r in records if r.kind == "commit"):
            wrong.append(f"reservation {reservation_id} is committed, and nobody was told so")
    commits = evidence.books.rows(
        "SELECT description, id FROM credits.transactions"
        " WHERE posting_key = 'commit:' || (metadata ->> 'reservationId')"
    )
    asked_commits = {one.name: (one.told, one) for one in evidence.records.of("commit")}
    wrong += named("commit", asked_commits, commits, evidence.gone)
    verdict.say("reservations", len(asked) + sum(map(len, ways.values())), wrong)


# Gifts


def _gifts(evidence: Evidence, verdict: Verdict) -> None:
    rows = evidence.books.rows("SELECT message, id::text, status, target_email FROM gifts.gift_codes")
    asked = {record.name: (record.told, record) for record in evidence.records.of("gift")}
    wrong = named("gift", asked, [(row[0], row) for row in rows], evidence.gone)
    status = {row[1]: row[2] for row in rows}
    cancelled: Counter[str] = Counter()
    for record in evidence.records.of("cancel"):
        gift_id = record.asked["giftId"]
        if record.told is Told.OK:
            cancelled[gift_id] += 1
            if status.get(gift_id) != "cancelled":
                wrong.append(f"gift {gift_id} was told cancelled, and is {status.get(gift_id)}")
    wrong += [f"gift {gift_id} was cancelled {n} times" for gift_id, n in cancelled.items() if n > 1]
    may_be_cancelled = {
        record.asked["giftId"] for record in evidence.records.of("cancel") if record.may_be_there
    }
    wrong += [
        f"gift {gift_id} is cancelled, and nobody was told so"
        for gift_id, now in status.items()
        if now == "cancelled" and gift_id not in may_be_cancelled
    ]
    verdict.say("gifts", len(asked) + len(evidence.records.of("cancel")), wrong)


def _redemptions(evidence: Evidence, verdict: Verdict) -> None:
    rows = evidence.books.rows(
        "SELECT gift_code_id::text, redeemer_user_id FROM gifts.gift_redemptions WHERE status = 'success'"
    )
    winners = dict(rows)
    wrong = [
        f"gift {gift} was redeemed {n} times" for gift, n in Counter(g for g, _ in rows).items() if n > 1
    ]
    tries: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in evidence.records.of("redeem"):
        tries[record.asked["sourceAppId"], record.user_id].append(record)
    for (gift_id, user_id), records in tries.items():
        has_it = winners.get(gift_id) == user_id
        oks = sum(record.told is Told.OK for record in records)
        if oks and not has_it:
            wrong.append(f"gift {gift_id} was told redeemed by {user_id}, and {winners.get(gift_id)} has it")
        if oks > 1:
            wrong.append(f"gift {gift_id} was told redeemed by {user_id} {oks} times")
        if has_it and all(record.told is Told.REFUSED for record in records):
            wrong.append(f"gift {gift_id} was refused to {user_id}, who has it")
    verdict.say("redemptions", len(evidence.records.of("redeem")), wrong)


def _pending(evidence: Evidence, verdict: Verdict) -> None:
    """Who registered was told of all that waited for them; an answer that is there tells the truth."""
    jobs = {
        job_id: (state, result)
        for job_id, state, result in evidence.books.rows(
            "SELECT id::text, state, result FROM ops.jobs WHERE kind = 'redeem_pending_gifts'"
        )
    }
    received = {
        user_id: (count, total)
        for user_id, count, total in evidence.books.rows(
            "SELECT redeemer_user_id, count(*), sum(credits_received) FROM gifts.gift_redemptions"
            " WHERE status = 'success' AND redeemer_user_id LIKE 'new-%%' GROUP BY 1"
        )
    }
    wrong = []
    records = evidence.records.of("redeem-pending")
    for record in records:
        has = tuple(map(int, received.get(record.user_id, (0, 0))))
        told = None
        if record.told is Told.OK:
            told = (record.answer["redeemed"], record.answer["totalCredits"])
        elif record.told is Told.ACCEPTED:
            state, result = jobs.get(record.answer["jobId"], ("gone", None))
            told = (result["redeemed"], result["totalCredits"]) if state == "done" else (0, 0)
            if state != "done":
                wrong.append(f"redeem-pending {record.name} was accepted, and its job is {state}")
        if told is not None and told != has:
            wrong.append(f"redeem-pending of {record.user_id} was told {told}, and received {has}")
    verdict.say("redeem-pending", len(records), wrong)


# Money in


def _purchases(evidence: Evidence, verdict: Verdict) -> None:
    rows = evidence.books.rows(
        "SELECT p.id::text, p.user_id, p.status, p.credits, p.price_euro_cents, p.credits_taken_back, p.problem,"
        " (SELECT count(*) FROM credits.transactions t WHERE t.posting_key = 'purchase:' || p.id)"
        " FROM credits.purchases p"
    )
    purchases = {row[0]: row for row in rows}
    wrong = [f"purchase {row[0]} has the problem {row[6]!r}" for row in rows if row[6]]
    asked = evidence.records.of("purchase")
    for record in asked:
        if record.told is Told.OK:
            row = purchases.get(record.answer["purchaseId"])
            if row is None or row[1] != record.user_id:
                wrong.append(f"purchase {record.name} was told {record.answer}, and is {row}")
    per_user = Counter(row[1] for row in rows)
    may_be = Counter(record.user_id for record in asked if record.may_be_there)
    wrong += [
        f"{user_id} asked for {may_be[user_id]} purchases, and has {count}"
        for user_id, count in per_user.items()
        if count > may_be[user_id]
    ]
    paid = _paid(evidence.stripe)
    for purchase_id, (count, refunded, disputed) in paid.items():
        row = purchases.get(purchase_id)
        if row is None:
            wrong.append(f"Stripe was paid for purchase {purchase_id}, which is not there")
            continue
        _, _, status, bought, cents, taken_back, _, entries = row
        gone = min(cents, refunded + disputed)
        owed = bought if gone >= cents else bought * gone // cents
        if count != 1:
            wrong.append(f"purchase {purchase_id} was paid {count} times")
        if (status, entries) != ("completed", 1):
            wrong.append(f"purchase {purchase_id} is paid, and is {status} with {entries} entries")
        if taken_back != owed:
            wrong.append(
                f"purchase {purchase_id}: {refunded} + {disputed} of {cents} cents went back, {owed} credits"
                f" should, {taken_back} did"
            )
    wrong += [
        f"purchase {row[0]} is {row[2]} with {row[7]} entries, and nobody paid"
        for row in rows
        if row[0] not in paid and (row[2] == "completed" or row[7])
    ]
    verdict.say("purchases", len(asked), wrong)
    verdict.say("payments", len(paid), [])


def _paid(stripe: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[int, int, int]]:
    """By purchase: how often it was paid, and how many cents of it went back by refunds and by disputes."""
    charges: dict[str, int] = {}
    for charge in stripe.get("charge", []):
        charges[charge["payment_intent"]] = (
            charges.get(charge["payment_intent"], 0) + charge["amount_refunded"]
        )
    disputed: Counter[str] = Counter()
    for dispute in stripe.get("dispute", []):
        if dispute["status"] not in ("won", "warning_needs_response", "warning_closed"):
            disputed[dispute["payment_intent"]] += dispute["amount"]
    found: dict[str, tuple[int, int, int]] = {}
    for intent in stripe.get("payment_intent", []):
        if intent["status"] == "succeeded":
            purchase_id = intent["metadata"]["purchaseId"]
            count, back, lost = found.get(purchase_id, (0, 0, 0))
            found[purchase_id] = (
                count + 1,
                back + charges.get(intent["id"], 0),
                lost + disputed[intent["id"]],
            )
    return found


# Cloud Sync


def _subscriptions(evidence: Evidence, verdict: Verdict) -> None:
    charges = dict(
        evidence.books.rows(
            "SELECT user_id, count(*) FROM credits.transactions"
            " WHERE metadata ->> 'type' = 'sync_subscription' GROUP BY 1"
        )
    )
    active = dict(evidence.books.rows("SELECT user_id, active FROM credits.sync_subscriptions"))
    kinds = ("sync activate", "sync deactivate", "sync gift", "sync revoke")
    of_user: dict[str, list[Record]] = defaultdict(list)
    for record in evidence.records.of(*kinds):
        of_user[record.user_id].append(record)
    wrong = []
    for user_id, records in of_user.items():
        activations = [record for record in records if record.kind == "sync activate"]
        least = sum(record.told is Told.OK for record in activations)
        most = sum(record.may_be_there for record in activations)
        if not least <= charges.get(user_id, 0) <= most:
            wrong.append(f"{user_id} activated {least} to {most} times, charged {charges.get(user_id, 0)}")
        effective = [record for record in records if record.told is Told.OK]
        if effective and not any(record.told is Told.UNKNOWN for record in records):
            last = effective[-1]
            expected = last.kind in ("sync activate", "sync gift")
            if last.kind == "sync revoke":
                expected = bool(last.answer["active"])
            if active.get(user_id) != expected:
                wrong.append(f"{user_id}: after {last.kind} active is {active.get(user_id)}")
    verdict.say("subscriptions", sum(map(len, of_user.values())), wrong)


def _renewals(evidence: Evidence, verdict: Verdict) -> None:
    rows = {
        row[0]: row[1:]
        for row in evidence.books.rows(
            "SELECT s.user_id, s.active, s.paused_at,"
            " (SELECT count(*) FROM credits.transactions t WHERE t.user_id = s.user_id AND t.type = 'usage')"
            " FROM credits.sync_subscriptions s WHERE s.user_id LIKE 'due-%%'"
        )
    }
    notices = Counter(
        notice["userId"] for notice in evidence.notices if notice["data"]["type"] == "sync-paused"
    )
    wrong = []
    for user_id, can_pay in evidence.due.items():
        is_active, paused_at, charges = rows[user_id]
        if can_pay and (not is_active or charges != 1):
            wrong.append(f"{user_id} could pay: active {is_active}, charged {charges} times")
        if not can_pay and (is_active or paused_at is None or charges or notices[user_id] != 1):
            wrong.append(
                f"{user_id} could not pay: active {is_active}, charged {charges} times, {notices[user_id]} notices"
            )
    verdict.say("renewals", len(evidence.due), wrong)


# Everything


def _erasures(evidence: Evidence, verdict: Verdict) -> None:
    is_clear: dict[str, bool] = {}
    for record in evidence.records.all:
        if record.user_id.startswith("gone-"):
            # What is unknown may come after the erasure, and begin anew.
            is_clear[record.user_id] = is_clear.get(record.user_id, True) and record.told is not Told.UNKNOWN
    told = {record.user_id for record in evidence.records.of("erase") if record.told is Told.OK}
    left = evidence.books.rows(
        "SELECT user_id, 'balance' FROM credits.balances WHERE user_id LIKE 'gone-%%' UNION ALL"
        " SELECT user_id, 'entry' FROM credits.transactions WHERE user_id LIKE 'gone-%%' UNION ALL"
        " SELECT user_id, 'reservation' FROM credits.reservations WHERE user_id LIKE 'gone-%%' UNION ALL"
        " SELECT user_id, 'usage' FROM credits.usage_stats WHERE user_id LIKE 'gone-%%' UNION ALL"
        " SELECT user_id, 'key' FROM ops.idempotent_answers WHERE user_id LIKE 'gone-%%'"
    )
    wrong = [
        f"{user_id} was erased, and has a {what}"
        for user_id, what in left
        if user_id in told and is_clear[user_id]
    ]
    verdict.say("erasures", len(told), wrong)


def _jobs(evidence: Evidence, verdict: Verdict) -> None:
    rows = evidence.books.rows(
        "SELECT id::text, kind, state, last_error FROM ops.jobs WHERE state NOT IN ('done', 'refused')"
    )
    wrong = [f"{kind} {job_id} is {state}: {error}" for job_id, kind, state, error in rows]
    verdict.say("jobs", evidence.books.one("SELECT count(*) FROM ops.jobs"), wrong)
    twice = evidence.books.rows(
        "SELECT unique_key, count(*) FROM ops.jobs WHERE unique_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    )
    verdict.say("slots", 0, [f"{key} was fired {count} times" for key, count in twice])


def _histories(evidence: Evidence, verdict: Verdict) -> None:
    uses = uses_of(evidence.records)
    for user_id in HOT:
        order = [
            row[0]
            for row in evidence.books.rows(
                "SELECT coalesce(metadata ->> 'referenceId', description) FROM credits.transactions"
                " WHERE user_id = %s ORDER BY version",
                user_id,
            )
        ]
        operations = _operations(evidence.records, uses, user_id)
        writes = [operations[name] for name in order if name in operations]
        in_ledger = set(order)
        reads = [one for name, one in operations.items() if name not in in_ledger and not one.change]
        verdict.say("histories", len(writes) + len(reads), [f"{user_id}: {w}" for w in check(writes, reads)])


def _operations(records: Records, uses: list[Use], user_id: str) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for record in records.of("balance"):
        if record.user_id == user_id and record.told is Told.OK:
            seen = Seen(
                *(Decimal(str(record.answer[name])) for name in ("balance", "totalEarned", "totalSpent"))
            )
            found[record.name] = Operation(record.name, record.began, record.ended, seen=seen)
    for record in records.of("grant"):
        if record.user_id == user_id:
            is_known = record.told is Told.OK
            seen = Seen(balance=Decimal(str(record.answer["newBalance"]))) if is_known else Seen()
            found[record.name] = Operation(
                record.name,
                record.began,
                record.ended if is_known else NEVER,
                Decimal(record.asked["amount"]),
                seen,
                is_known,
            )
    for use in uses:
        if use.user_id == user_id:
            found[use.name] = _operation_of_use(use)
    return found


def _operation_of_use(use: Use) -> Operation:
    began, ended = use.record.began, use.record.ended
    if use.told is Told.REFUSED and use.details is not None:
        required, available = (Decimal(str(use.details[name])) for name in ("required", "available"))
        return Operation(use.name, began, ended, seen=Seen(balance=available), below=required)
    if use.told is not Told.OK or use.transaction is None:
        return Operation(use.name, began, NEVER, -use.amount, is_known=False)
    spent = None if use.left is None else Decimal(str(use.left["totalSpent"]))
    seen = Seen(balance=Decimal(str(use.transaction["balanceAfter"])), spent=spent)
    return Operation(use.name, began, ended, -use.amount, seen)


def _invariants(evidence: Evidence, verdict: Verdict) -> None:
    engine = make_engine(evidence.books.url, pool_size=1)
    try:
        findings = invariants.check(engine)
    finally:
        engine.dispose()
    for finding in findings:
        verdict.say(
            "invariants", finding.checked, [f"{finding.name}: {wrong}" for wrong in finding.violations]
        )
