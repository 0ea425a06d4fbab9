"""Facts that must hold in every database, whenever it is looked at.  Checked in production and in tests.

`python -m domain.invariants` prints each fact, what it checked, and every violation.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from domain.database import make_engine
from domain.settings import read_settings

VIOLATIONS_SHOWN_MAX: Final = 100
"""How many violations of one fact are reported one by one; all are counted."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """`checked` counts what was looked at; `violations` selects (subject, what is wrong), one row each."""

    name: str
    says: str
    checked: str
    violations: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one fact: each of `violations` says its subject and what is wrong with it."""

    name: str
    says: str
    checked: int
    violation_count: int
    violations: list[str]


FACTS: Final = (
    Fact(
        name="entries_chain",
        says="a person's entries follow one another: each leaves what was there before plus its amount",
        checked="SELECT count(*) FROM credits.transactions WHERE version > 0",
        violations="""
            SELECT id, format('version %s leaves %s, the entries up to it sum to %s', version, booked, running)
            FROM (
                SELECT id, version, balance_after + held_after AS booked,
                       sum(amount) OVER (PARTITION BY user_id ORDER BY version) AS running
                FROM credits.transactions
            ) e WHERE version > 0 AND booked <> running
        """,
    ),
    Fact(
        name="entries_arithmetic",
        says="an entry's balance after is its balance before plus its amount",
        checked="SELECT count(*) FROM credits.transactions WHERE version > 0",
        violations="""
            SELECT id, format('%s + %s is not %s', balance_before, amount, balance_after)
            FROM credits.transactions WHERE version > 0 AND balance_after <> balance_before + amount
        """,
    ),
    Fact(
        name="balance_is_sum_of_entries",
        says="what a person can spend and what is set aside are together the sum of the entries",
        checked="SELECT count(*) FROM credits.balances",
        violations="""
            SELECT coalesce(b.user_id, e.user_id),
                   format('balance %s + held %s, entries sum to %s', b.balance, b.held, coalesce(e.amount, 0))
            FROM credits.balances b
            FULL JOIN (SELECT user_id, sum(amount) AS amount FROM credits.transactions GROUP BY 1) e USING (user_id)
            WHERE b.balance + b.held IS DISTINCT FROM coalesce(e.amount, 0)
        """,
    ),
    Fact(
        name="totals_agree",
        says="total earned and total spent are the sums of what the entries changed them by",
        checked="SELECT count(*) FROM credits.balances",
        violations="""
            SELECT b.user_id, format('earned %s against %s, spent %s against %s', b.total_earned,
                                     coalesce(e.earned, 0), b.total_spent, coalesce(e.spent, 0))
            FROM credits.balances b
            LEFT JOIN (
                SELECT user_id, sum(earned_change) AS earned, sum(spent_change) AS spent
                FROM credits.transactions GROUP BY 1
            ) e USING (user_id)
            WHERE (b.total_earned, b.total_spent) <> (coalesce(e.earned, 0), coalesce(e.spent, 0))
        """,
    ),
    Fact(
        name="held_is_open_reservations",
        says="what is set aside is the sum of the person's open reservations",
        checked="SELECT count(*) FROM credits.balances",
        violations="""
            SELECT coalesce(b.user_id, r.user_id), format('held %s, reservations %s', b.held, r.amount)
            FROM credits.balances b
            FULL JOIN (
                SELECT user_id, sum(amount) AS amount FROM credits.reservations
                WHERE status = 'reserved' GROUP BY 1
            ) r USING (user_id)
            WHERE coalesce(b.held, 0) <> coalesce(r.amount, 0)
        """,
    ),
    Fact(
        name="versions_move_on",
        says="a balance is at the version of its newest entry or beyond it",
        checked="SELECT count(*) FROM credits.balances",
        violations="""
            SELECT user_id, format('balance at version %s, newest entry at %s', b.version, e.version)
            FROM credits.balances b
            JOIN (SELECT user_id, max(version) AS version FROM credits.transactions GROUP BY 1) e USING (user_id)
            WHERE e.version > b.version
        """,
    ),
    Fact(
        name="debt_only_by_taking_back",
        says="a balance is below zero only where a paid purchase was taken back, or it came over or was written so",
        checked="SELECT count(*) FROM credits.balances WHERE balance < 0",
        violations="""
            SELECT b.user_id, format('balance %s', b.balance)
            FROM credits.balances b
            WHERE b.balance < 0 AND NOT EXISTS (
                SELECT FROM credits.transactions t
                WHERE t.user_id = b.user_id
                  AND (t.amount < 0 AND t.type IN ('purchase', 'grant') OR t.version = 0 AND t.balance_after < 0))
        """,
    ),
    Fact(
        name="commits_have_entries",
        says="a committed reservation is one entry over its amount",
        checked="SELECT count(*) FROM credits.reservations WHERE status = 'committed'",
        violations="""
            SELECT t.id, format('entry %s against reservation %s %s', t.amount, r.status, r.amount)
            FROM credits.transactions t
            LEFT JOIN credits.reservations r ON t.posting_key = 'commit:' || r.id
            WHERE t.posting_key LIKE 'commit:%' AND (r.id IS NULL OR r.status <> 'committed' OR r.amount <> -t.amount)
        """,
    ),
    Fact(
        name="purchases_have_entries",
        says="a completed purchase is one entry over its credits, and no other purchase has an entry",
        checked="SELECT count(*) FROM credits.purchases WHERE status = 'completed'",
        violations="""
            SELECT coalesce(p.id::text, t.posting_key),
                   format('purchase %s over %s, entry over %s', p.status, p.credits, t.amount)
            FROM credits.purchases p
            FULL JOIN (
                SELECT user_id, posting_key, amount FROM credits.transactions WHERE posting_key LIKE 'purchase:%'
            ) t ON t.posting_key = 'purchase:' || p.id
            WHERE (p.status = 'completed' OR t.posting_key IS NOT NULL)
              AND (p.status, p.credits, p.user_id) IS DISTINCT FROM ('completed', t.amount, t.user_id)
              AND coalesce(p.problem, '') NOT LIKE 'taken over:%'
        """,
    ),
    Fact(
        name="taken_back_is_sum_of_entries",
        says="what was taken back of a purchase is what its entries of taking and giving back sum to",
        checked="SELECT count(*) FROM credits.purchases WHERE take_backs > 0",
        violations="""
            SELECT coalesce(p.id::text, t.purchase_id),
                   format('%s taken back in %s steps, entries over %s in %s', p.credits_taken_back, p.take_backs,
                          t.amount, t.steps)
            FROM credits.purchases p
            FULL JOIN (
                SELECT split_part(posting_key, ':', 2) AS purchase_id, -sum(amount) AS amount, count(*) AS steps
                FROM credits.transactions WHERE posting_key LIKE 'take-back:%' GROUP BY 1
            ) t ON t.purchase_id = p.id::text
            WHERE (coalesce(p.credits_taken_back, 0), coalesce(p.take_backs, 0))
                  <> (coalesce(t.amount, 0), coalesce(t.steps, 0))
        """,
    ),
    Fact(
        name="taken_back_follows_the_money",
        says="of a completed purchase, those credits are taken back whose money went back",
        checked="SELECT count(*) FROM credits.purchase_reversals",
        violations="""
            SELECT id, format('%s taken back, %s of %s cents went back', credits_taken_back, gone, price_euro_cents)
            FROM (
                SELECT p.id, p.credits, p.price_euro_cents, p.credits_taken_back, p.problem,
                       least(p.price_euro_cents, r.refunded + r.disputed) AS gone
                FROM credits.purchases p
                CROSS JOIN LATERAL (
                    SELECT coalesce(sum(amount) FILTER (WHERE kind = 'dispute'), 0) AS disputed,
                           coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded
                    FROM (
                        SELECT 'dispute' AS kind, amount_cents AS amount FROM credits.purchase_reversals
                        WHERE payment_intent_id = p.stripe_payment_intent_id AND kind = 'dispute'
                          AND state IN ('counted', 'final')
                        UNION ALL
                        SELECT 'refund', greatest(
                            sum(c.amount_cents) FILTER (WHERE c.kind = 'refund' AND c.state IN ('counted', 'final')),
                            max(c.amount_cents) FILTER (WHERE c.kind = 'charge') - coalesce(
                                sum(c.amount_cents) FILTER (
                                    WHERE c.kind = 'refund' AND c.state = 'void' AND c.seen_at >= s.seen_at),
                                0),
                            0)
                        FROM credits.purchase_reversals c
                        LEFT JOIN credits.purchase_reversals s ON s.stripe_id = c.charge_id AND s.kind = 'charge'
                        WHERE c.payment_intent_id = p.stripe_payment_intent_id AND c.kind <> 'dispute'
                        GROUP BY c.charge_id
                    ) one
                ) r
                WHERE p.status = 'completed'
            ) owed
            WHERE credits_taken_back <> CASE WHEN gone >= price_euro_cents AND gone > 0 THEN credits
                                             ELSE floor(credits::numeric * gone / greatest(price_euro_cents, 1)) END
              AND coalesce(problem, '') NOT LIKE 'taken over:%'
        """,
    ),
    Fact(
        name="gifts_hold_what_was_paid",
        says="what a creator paid for a gift is in it while it is active, else with who got it, or paid back",
        checked="SELECT count(*) FROM gifts.gift_codes",
        # Of a gift that was taken over no payment is known, nor how it ended before.
        violations="""
            SELECT gift_id,
                   format('%s over %s: paid %s, received %s, paid back %s', status, total, paid, received, back)
            FROM (
                SELECT coalesce(g.id::text, e.gift_id) AS gift_id, g.status, g.total_credits AS total,
                       e.paid, coalesce(e.received, 0) AS received, coalesce(e.back, 0) AS back,
                       CASE WHEN g.status = 'depleted' THEN g.total_credits ELSE 0 END AS to_receive,
                       CASE WHEN g.status IN ('active', 'depleted') THEN 0 ELSE g.total_credits END AS to_pay_back
                FROM gifts.gift_codes g
                FULL JOIN (
                    SELECT split_part(posting_key, ':', 2) AS gift_id,
                           -sum(amount) FILTER (WHERE posting_key LIKE 'gift-made:%') AS paid,
                           sum(amount) FILTER (WHERE posting_key LIKE 'gift:%') AS received,
                           sum(amount) FILTER (WHERE posting_key LIKE 'gift-back:%') AS back
                    FROM credits.transactions
                    WHERE posting_key LIKE 'gift:%' OR posting_key LIKE 'gift-made:%' OR posting_key LIKE 'gift-back:%'
                    GROUP BY 1
                ) e ON e.gift_id = g.id::text
            ) gift
            WHERE total IS NULL OR paid <> total OR (
                (received, back) <> (to_receive, to_pay_back) AND (paid IS NOT NULL OR (received, back) <> (0, 0)))
        """,
    ),
    Fact(
        name="gifts_are_received_once",
        says="who redeemed a gift has one entry over its credits, and nobody else has one",
        checked="SELECT count(*) FROM gifts.gift_redemptions WHERE status = 'success'",
        violations="""
            WITH received AS (
                SELECT id, user_id, amount, split_part(posting_key, ':', 2) AS gift_id
                FROM credits.transactions WHERE posting_key LIKE 'gift:%'
            ), redeemed AS (
                SELECT *, count(*) OVER (PARTITION BY gift_code_id) AS times
                FROM gifts.gift_redemptions
                WHERE status = 'success' AND gift_code_id::text IN (
                    SELECT gift_id FROM received UNION ALL
                    SELECT split_part(posting_key, ':', 2) FROM credits.transactions
                    WHERE posting_key LIKE 'gift-made:%')
            )
            SELECT coalesce(r.gift_code_id::text, e.gift_id),
                   format('redeemed %s times, %s credits, entry over %s', r.times, r.credits_received, e.amount)
            FROM redeemed r FULL JOIN received e ON e.id = r.credit_transaction_id
            WHERE r.times > 1 OR (r.gift_code_id::text, r.redeemer_user_id, r.credits_received)
                  IS DISTINCT FROM (e.gift_id, e.user_id, e.amount)
        """,
    ),
    Fact(
        name="usage_is_sum_of_entries",
        says="usage statistics, with what waits to be added, are the sum of the usage entries",
        checked="SELECT count(*) FROM credits.usage_stats WHERE is_rolled_up",
        violations="""
            SELECT format('%s/%s/%s', user_id, app_id, day),
                   format('statistics %s, entries %s', sum(counted), sum(entered))
            FROM (
                SELECT user_id, app_id, (date AT TIME ZONE 'UTC')::date AS day, credits_used AS counted, 0 AS entered
                FROM credits.usage_stats WHERE is_rolled_up
                UNION ALL
                SELECT user_id, app_id, day, credits_used, 0 FROM ops.usage_pending
                UNION ALL
                SELECT user_id, app_id, (created_at AT TIME ZONE 'UTC')::date, 0, -amount
                FROM credits.transactions
                WHERE type = 'usage' AND version > 0 AND user_id NOT IN (SELECT pseudonym FROM ops.erasures)
            ) u GROUP BY user_id, app_id, day HAVING sum(counted) <> sum(entered)
        """,
    ),
    Fact(
        name="sync_is_charged_next",
        says="an active sync subscription that is no gift has a date for its next charge",
        checked="SELECT count(*) FROM credits.sync_subscriptions WHERE active AND NOT is_gifted",
        violations="""
            SELECT user_id, 'active, and never charged again' FROM credits.sync_subscriptions
            WHERE active AND NOT is_gifted AND next_charge_at IS NULL
        """,
    ),
    Fact(
        name="sync_is_paid",
        says="the period that a sync subscription notes as paid has its entry",
        checked="SELECT count(*) FROM credits.sync_subscriptions WHERE paid_from IS NOT NULL",
        violations="""
            SELECT s.user_id, format('no entry over the period that began at %s', s.paid_from)
            FROM credits.sync_subscriptions s
            WHERE s.paid_from IS NOT NULL AND NOT EXISTS (
                SELECT FROM credits.transactions t WHERE t.user_id = s.user_id
                AND t.posting_key = 'sync:' || to_char(s.paid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        """,
    ),
    Fact(
        name="sync_periods_are_paid_once",
        says="a sync renewal is over a known price, for a period that begins when the one paid before was over",
        checked="SELECT count(*) FROM credits.transactions WHERE posting_key ^@ 'sync:'",
        violations="""
            SELECT id, CASE WHEN months IS NULL THEN format('charged %s', -amount)
                       ELSE format('a period from %s inside one from %s', began, before) END
            FROM (
                SELECT id, amount, type, began, months, is_renewal,
                       lag(began) OVER charges AS before, lag(months) OVER charges AS months_before
                FROM (
                    SELECT id, user_id, amount, type, metadata ->> 'type' = 'sync_renewal' AS is_renewal,
                           substr(posting_key, 6)::timestamptz AT TIME ZONE 'UTC' AS began,
                           CASE -amount WHEN 30 THEN 1 WHEN 90 THEN 3 WHEN 360 THEN 12 END AS months
                    FROM credits.transactions WHERE posting_key ^@ 'sync:'
                ) t WINDOW charges AS (PARTITION BY user_id ORDER BY began)
            ) c
            WHERE months IS NULL OR type <> 'usage'
               OR (is_renewal AND began < before + make_interval(months => months_before))
        """,
    ),
    Fact(
        name="webhooks_have_lanes",
        says="where something waits to be told to an endpoint there is a lane that brings it, and no other lane",
        checked="SELECT count(*) FROM ops.webhook_lanes",
        violations="""
            SELECT format('%s/%s', coalesce(l.endpoint_id, d.endpoint_id), coalesce(l.user_id, d.user_id)),
                   CASE WHEN l.user_id IS NULL THEN format('%s deliveries wait without a lane', d.number)
                        ELSE 'a lane in which nothing waits' END
            FROM ops.webhook_lanes l
            FULL JOIN (
                SELECT endpoint_id, user_id, count(*) AS number FROM ops.webhook_deliveries
                WHERE state = 'waiting' GROUP BY 1, 2
            ) d ON d.endpoint_id = l.endpoint_id AND d.user_id = l.user_id
            WHERE (l.user_id IS NULL OR d.user_id IS NULL)
              AND coalesce(l.endpoint_id, d.endpoint_id) IN (
                  SELECT id FROM ops.webhook_endpoints WHERE state <> 'deleted')
        """,
    ),
)


def check(engine: Engine) -> list[Finding]:
    """Every fact, looked at in one snapshot, so that work in flight is never mistaken for a violation.

    Reads only.  Takes no locks; on millions of entries it takes seconds, without a statement time-out.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        findings = []
        for fact in FACTS:
            rows = connection.exec_driver_sql(_literal(fact.violations)).all()
            findings.append(
                Finding(
                    name=fact.name,
                    says=fact.says,
                    checked=connection.exec_driver_sql(_literal(fact.checked)).scalar_one(),
                    violation_count=len(rows),
                    violations=[f"{subject}: {wrong}" for subject, wrong in rows[:VIOLATIONS_SHOWN_MAX]],
                )
            )
        connection.rollback()
    return findings


def _literal(query: str) -> str:
    """A query without parameters, as the driver takes it: a `%` of SQL's is no placeholder."""
    return query.replace("%", "%%")


def main() -> int:
    """Print the findings on DATABASE_URL; 1 when a fact does not hold."""
    engine = make_engine(read_settings().database_url, pool_size=1)
    findings = check(engine)
    engine.dispose()
    table = Table("fact", "says", "checked", "violations")
    for finding in findings:
        colour = "red" if finding.violation_count else "green"
        table.add_row(
            finding.name, finding.says, str(finding.checked), f"[{colour}]{finding.violation_count}"
        )
    console = Console()
    console.print(table)
    for finding in findings:
        for violation in finding.violations:
            console.print(f"[red]{finding.name}[/] {violation}", highlight=False)
    return 1 if any(finding.violation_count for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
