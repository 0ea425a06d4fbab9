"""What is wrong in a database of the old service: each kind, how it is found, and what becomes of it.

A query gives rows (kind, subject, what, size): the kind's name, whom or what it is about, the facts in words,
and its size in credits.  It reads the old schema, revision 0001, and nothing newer.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of wound: `says` what was found, `becomes` what adopting makes of it."""

    name: str
    says: str
    becomes: str
    sized_in: str = "credits"


KINDS: Final = (
    Kind(
        name="held_without_entry",
        says="people with open reservations: off the balance, and in no entry",
        becomes="stays set aside for a day, then comes back unless it is committed",
    ),
    Kind(
        name="more_than_entries",
        says="people who have more than their entries say",
        becomes="they keep it; an opening entry says the difference",
    ),
    Kind(
        name="less_than_entries",
        says="people who have less than their entries say",
        becomes="the balance stays; an opening entry says the difference",
    ),
    Kind(
        name="totals_differ",
        says="people whose balance adds up, but not what they earned or spent",
        becomes="the totals stay; an opening entry over nothing says the difference",
    ),
    Kind(
        name="below_zero",
        says="people below zero",
        becomes="stays a debt, which their next credits pay off",
    ),
    Kind(
        name="no_balance",
        says="people with entries or open reservations, and no balance",
        becomes="get a balance of nothing, as the old service showed them",
    ),
    Kind(
        name="grants_repeated",
        says="grants made more than once for one person and reference",
        becomes="what was given is kept; asked for again, nothing more is given",
    ),
    Kind(
        name="keys_repeated",
        says="idempotency keys used by one person more than once",
        becomes="the first entry with the key is the answer to a repeat",
    ),
    Kind(
        name="keys_shared",
        says="idempotency keys that several people used",
        becomes="each person's key is their own",
    ),
    Kind(
        name="keys_too_long",
        says="idempotency keys too long to be kept",
        becomes="the entries stay; a repeat of such a key would be a new request",
    ),
    Kind(
        name="paid_or_not",
        says="purchases pending or failed that Stripe knows: paid and never credited, perhaps",
        becomes="Stripe is asked about each; what was paid is credited, once",
    ),
    Kind(
        name="completed_uncredited",
        says="purchases completed without an entry over their credits",
        becomes="marked for a person to decide on: `./dev admin purchases --problem`",
    ),
    Kind(
        name="credited_unfinished",
        says="purchases credited and not completed",
        becomes="marked; a later success at Stripe completes them and credits nothing",
    ),
    Kind(
        name="credited_twice",
        says="purchases credited more than once",
        becomes="what was given is kept; the first entry is the purchase's",
    ),
    Kind(
        name="never_at_stripe",
        says="pending purchases that Stripe was never asked for",
        becomes="stay; nobody could pay them",
    ),
    Kind(
        name="gifts_expired_active",
        says="gifts past their date and still active",
        becomes="expire within minutes of the start: the creator is paid back",
    ),
    Kind(
        name="gifts_given_active",
        says="gifts redeemed and still active",
        becomes="are depleted: nobody gets them again",
    ),
    Kind(
        name="gifts_given_twice",
        says="gifts that several people redeemed",
        becomes="what was given is kept",
    ),
    Kind(
        name="sync_drifted",
        says="subscriptions whose next date is not the day they were activated on",
        becomes="keep the day they have now, and drift no more",
        sized_in="days",
    ),
    Kind(
        name="sync_late",
        says="subscriptions one period late or more",
        becomes="charged once, for the current period",
        sized_in="days",
    ),
    Kind(
        name="sync_undated",
        says="active subscriptions without a date for their next charge",
        becomes="charged from their next anniversary on, not for the time before",
        sized_in="days",
    ),
    Kind(
        name="sync_no_balance",
        says="active subscriptions of people without a balance",
        becomes="paused at their next charge, and told so",
        sized_in="days",
    ),
)
"""All kinds, in the order of the report."""

# Beside each person: what they have, what is set aside, and what the entries sum up to.
_BOOKS: Final = """
    WITH entries AS (
        SELECT user_id, sum(amount::bigint) AS amount,
               coalesce(sum(amount::bigint) FILTER (WHERE amount > 0 AND type IN ('purchase', 'grant', 'gift')), 0)
                   AS earned,
               coalesce(-sum(amount::bigint) FILTER (WHERE amount < 0), 0) AS spent
        FROM credits.transactions GROUP BY user_id
    ), open AS (
        SELECT user_id, sum(amount::bigint) AS amount, count(*) AS times FROM credits.reservations
        WHERE status = 'reserved' GROUP BY user_id
    ), books AS (
        SELECT user_id, b.balance::bigint AS balance, b.total_earned, b.total_spent, o.times,
               coalesce(o.amount, 0) AS open, coalesce(e.amount, 0) AS entered,
               coalesce(b.balance::bigint, 0) + coalesce(o.amount, 0) - coalesce(e.amount, 0) AS difference,
               coalesce(e.earned, 0) AS earned, coalesce(e.spent, 0) AS spent
        FROM credits.balances b FULL JOIN entries e USING (user_id) FULL JOIN open o USING (user_id)
    )
    SELECT 'held_without_entry' AS kind, user_id AS subject,
           format('%s credits in %s open reservations', open, times) AS what, open AS size
    FROM books WHERE open <> 0
    UNION ALL
    SELECT CASE WHEN difference > 0 THEN 'more_than_entries' ELSE 'less_than_entries' END, user_id,
           format('has %s, set aside %s, entries sum to %s', coalesce(balance, 0), open, entered), difference
    FROM books WHERE difference <> 0
    UNION ALL
    SELECT 'totals_differ', user_id,
           format('earned %s against %s, spent %s against %s', coalesce(total_earned, 0), earned,
                  coalesce(total_spent, 0), spent),
           abs(coalesce(total_earned, 0) - earned) + abs(coalesce(total_spent, 0) - spent)
    FROM books
    WHERE difference = 0 AND (coalesce(total_earned, 0), coalesce(total_spent, 0)) <> (earned, spent)
    UNION ALL
    SELECT 'below_zero', user_id, format('has %s', balance), balance FROM books WHERE balance < 0
    UNION ALL
    SELECT 'no_balance', user_id, format('entries sum to %s, set aside %s', entered, open), entered
    FROM books WHERE balance IS NULL
"""

_GRANTS: Final = """
    SELECT 'grants_repeated' AS kind, user_id AS subject,
           format('%s granted %s times, %s credits beyond the first', reference, times, total - first) AS what,
           total - first AS size
    FROM (
        SELECT user_id, metadata ->> 'referenceId' AS reference, count(*) AS times, sum(amount::bigint) AS total,
               (array_agg(amount ORDER BY created_at, id))[1] AS first
        FROM credits.transactions
        WHERE type = 'grant' AND status = 'completed' AND metadata ->> 'referenceId' IS NOT NULL
        GROUP BY user_id, metadata ->> 'referenceId' HAVING count(*) > 1
    ) g
"""

_KEYS: Final = """
    WITH used AS (
        SELECT idempotency_key AS key, user_id, type, count(*) AS times, sum(abs(amount::bigint)) AS amount
        FROM credits.transactions
        WHERE idempotency_key IS NOT NULL AND status = 'completed' AND type IN ('usage', 'refund')
        GROUP BY idempotency_key, user_id, type
    )
    SELECT 'keys_repeated' AS kind, user_id AS subject,
           format('%s %s times, in all over %s', left(key, 40), times, amount) AS what, amount AS size
    FROM used WHERE times > 1
    UNION ALL
    SELECT 'keys_shared', left(key, 40), format('used by %s people', count(DISTINCT user_id)), 0
    FROM used GROUP BY key HAVING count(DISTINCT user_id) > 1
    UNION ALL
    SELECT 'keys_too_long', user_id, format('%s characters', length(key)), amount
    FROM used WHERE length(key) > 300 - length(CASE type WHEN 'usage' THEN 'use:' ELSE 'refund:' END)
"""

_PURCHASES: Final = """
    WITH credited AS (
        SELECT t.user_id, coalesce(t.metadata ->> 'purchaseId', p.id::text) AS purchase_id, count(*) AS times,
               sum(t.amount::bigint) AS amount, (array_agg(t.amount ORDER BY t.created_at, t.id))[1] AS first
        FROM credits.transactions t
        LEFT JOIN credits.purchases p ON t.metadata ->> 'purchaseId' IS NULL
            AND p.stripe_payment_intent_id = t.metadata ->> 'paymentIntentId'
        WHERE t.type = 'purchase' AND t.status = 'completed'
        GROUP BY 1, 2
    ), bought AS (
        SELECT p.*, c.times, c.amount, c.first FROM credits.purchases p
        LEFT JOIN credited c ON c.user_id = p.user_id AND c.purchase_id = p.id::text
    )
    SELECT 'paid_or_not' AS kind, id::text AS subject,
           format('%s, %s, %s credits for %s cents of %s', user_id, status, credits, price_euro_cents,
                  created_at::date) AS what,
           credits::bigint AS size
    FROM bought
    WHERE status IN ('pending', 'failed') AND stripe_payment_intent_id IS NOT NULL AND times IS NULL
    UNION ALL
    SELECT 'completed_uncredited', id::text,
           format('%s, %s credits for %s cents, first entry over %s', user_id, credits, price_euro_cents,
                  coalesce(first::text, 'nothing')),
           credits
    FROM bought WHERE status = 'completed' AND first IS DISTINCT FROM credits
    UNION ALL
    SELECT 'credited_unfinished', id::text, format('%s, %s, %s credited', user_id, status, amount), credits
    FROM bought WHERE status <> 'completed' AND times IS NOT NULL
    UNION ALL
    SELECT 'credited_twice', id::text, format('%s, %s times, %s credits in all', user_id, times, amount),
           amount - first
    FROM bought WHERE times > 1
    UNION ALL
    SELECT 'never_at_stripe', id::text, format('%s, %s credits of %s', user_id, credits, created_at::date), credits
    FROM bought WHERE status = 'pending' AND stripe_payment_intent_id IS NULL AND times IS NULL
"""

_GIFTS: Final = """
    WITH given AS (
        SELECT gift_code_id AS id, count(*) AS times, sum(credits_received) AS received FROM gifts.gift_redemptions
        WHERE status = 'success' GROUP BY gift_code_id
    ), gift AS (
        SELECT g.*, coalesce(n.times, 0) AS times, n.received FROM gifts.gift_codes g LEFT JOIN given n USING (id)
    )
    SELECT 'gifts_expired_active' AS kind, id::text AS subject,
           format('%s credits of %s, over since %s', total_credits, creator_id, expires_at::date) AS what,
           total_credits::bigint AS size
    FROM gift WHERE status = 'active' AND redeemed = 0 AND times = 0 AND expires_at <= now()
    UNION ALL
    SELECT 'gifts_given_active', id::text, format('%s credits of %s', total_credits, creator_id), total_credits
    FROM gift WHERE status = 'active' AND (redeemed > 0 OR times > 0)
    UNION ALL
    SELECT 'gifts_given_twice', id::text, format('redeemed %s times, %s credits in all', times, received),
           received - total_credits
    FROM gift WHERE times > 1
"""

_SYNC: Final = """
    WITH subscription AS (
        SELECT s.*, s.next_charge_at AT TIME ZONE 'UTC' AS due, s.activated_at AT TIME ZONE 'UTC' AS activated,
               make_interval(months => CASE billing_interval WHEN 'monthly' THEN 1 WHEN 'quarterly' THEN 3 ELSE 12 END)
                   AS period,
               EXISTS (SELECT FROM credits.balances b WHERE b.user_id = s.user_id) AS has_balance
        FROM credits.sync_subscriptions s WHERE active AND NOT is_gifted
    )
    SELECT 'sync_drifted' AS kind, user_id AS subject,
           format('activated on day %s, charged next on day %s', extract(day FROM activated), extract(day FROM due))
               AS what,
           abs(extract(day FROM due) - extract(day FROM activated))::bigint AS size
    FROM subscription
    WHERE extract(day FROM due) <> least(
        extract(day FROM activated), extract(day FROM date_trunc('month', due) + interval '1 month - 1 day'))
    UNION ALL
    SELECT 'sync_late', user_id, format('%s, due since %s', billing_interval, due::date),
           extract(day FROM now() - next_charge_at)::bigint
    FROM subscription WHERE next_charge_at + period <= now()
    UNION ALL
    SELECT 'sync_undated', user_id, format('%s, activated on %s', billing_interval, activated::date), 0
    FROM subscription WHERE due IS NULL
    UNION ALL
    SELECT 'sync_no_balance', user_id, format('%s, charged next on %s', billing_interval, due::date), 0
    FROM subscription WHERE NOT has_balance
"""

QUERIES: Final = {
    "balances and entries": _BOOKS,
    "grants": _GRANTS,
    "idempotency keys": _KEYS,
    "purchases": _PURCHASES,
    "gifts": _GIFTS,
    "subscriptions": _SYNC,
}
"""What is read, one query after the other."""
