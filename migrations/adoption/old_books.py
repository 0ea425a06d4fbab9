"""A database as the old service leaves it after years, made in the server: many people, all wounds.

People are numbered from 0; the n-th one's id is a uuid made of the number, so that ids come in no order.
A wound is given to every so many-th of them.  Who is chosen is in the numbers; nothing here is random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import Connection, Engine

from domain.database import transaction

ROWS_PER_STEP: Final = 250_000

PERSON: Final = "md5('person ' || n)::uuid::text"

# The first entry is a grant that lasts; each later one is a use, of the same amount for one person.
_ENTRIES: Final = f"""
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, metadata, idempotency_key, created_at, completed_at)
    SELECT {PERSON.replace("n)", "person)")}, (CASE WHEN k = 0 THEN 'grant' ELSE 'usage' END)::public.transaction_type,
           'completed', CASE WHEN k = 0 THEN first ELSE -used END,
           CASE WHEN k = 0 THEN 0 ELSE first - (k - 1) * used END, first - k * used,
           CASE WHEN k = 0 THEN 'community' ELSE 'app-' || mod(person, 7) END,
           CASE WHEN k = 0 THEN 'Reward: welcome' ELSE 'message ' || n END,
           CASE WHEN k = 0 THEN jsonb_build_object('reason', 'welcome', 'referenceId', 'welcome-1') END,
           -- the same keys for everybody, and for some one key for everything
           CASE WHEN k > 0 AND mod(n, 3) > 0 THEN 'key-' || CASE WHEN mod(person, 60) = 8 THEN 1 ELSE k END END,
           at, at
    FROM generate_series(%(low)s::bigint, %(high)s::bigint) n,
         LATERAL (SELECT mod(n, %(people)s) AS person, n / %(people)s AS k) p,
         LATERAL (SELECT 200 + 9 * (%(entries)s / %(people)s) AS first, 1 + mod(person, 9) AS used,
                         timestamptz '2025-01-01 00:00:00.123456+00' + n * interval '300 days' / %(entries)s AS at) a
"""
_BALANCES: Final = f"""
    INSERT INTO credits.balances (user_id, balance, total_earned, total_spent, version, created_at)
    SELECT {PERSON}, first - uses * used, first, uses * used, 1 + uses, '2025-01-01'
    FROM generate_series(%(low)s::bigint, %(high)s::bigint) n,
         LATERAL (SELECT 200 + 9 * (%(entries)s / %(people)s) AS first, 1 + mod(n, 9) AS used,
                         %(entries)s / %(people)s - 1
                             + CASE WHEN n < mod(%(entries)s, %(people)s) THEN 1 ELSE 0 END AS uses) a
"""
_USAGE: Final = """
    INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date)
    SELECT user_id, app_id, -amount, created_at FROM credits.transactions WHERE type = 'usage'
"""


def _people(every: int, first: int) -> str:
    return f"generate_series({first}, {{people}} - 1, {every}) n"


def _entries(every: int, first: int, kind: str, amount: str, metadata: str = "NULL") -> list[str]:
    """Entries for every so many-th person, and their balances moved by them; `amount` may name b.balance."""
    return [
        f"""
        INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                          description, metadata, created_at, completed_at)
        SELECT b.user_id, '{kind}', 'completed', {amount}, b.balance, b.balance + {amount}, 'old', 'old', {metadata},
               timestamptz '2025-11-01' + n * interval '1 second', timestamptz '2025-11-01'
        FROM {_people(every, first)} JOIN credits.balances b ON b.user_id = {PERSON}
        """,
        f"""
        UPDATE credits.balances b SET balance = b.balance + {amount},
            total_earned = b.total_earned + CASE WHEN '{kind}' <> 'usage' THEN greatest({amount}, 0) ELSE 0 END,
            total_spent = b.total_spent + greatest(-({amount}), 0)
        FROM {_people(every, first)} WHERE b.user_id = {PERSON}
        """,
    ]


def _moved(every: int, first: int, column: str, by: int) -> str:
    return f"""
        UPDATE credits.balances b SET {column} = b.{column} + {by}
        FROM {_people(every, first)} WHERE b.user_id = {PERSON}
    """


_PURCHASE_ID: Final = "md5('purchase ' || n)::uuid"
_CREDITED: Final = f"jsonb_build_object('purchaseId', {_PURCHASE_ID}, 'paymentIntentId', 'pi_' || n)"
_GIFT_ID: Final = "md5('gift ' || n)::uuid"


def _purchases(every: int, first: int, status: str, *, credited: int, asked: bool = True) -> list[str]:
    intent = "'pi_' || n" if asked else "NULL"
    made = f"""
        INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents, stripe_payment_intent_id,
                                       stripe_customer_id, status, created_at, completed_at)
        SELECT {_PURCHASE_ID}, {PERSON}, 100, 100, {intent}, 'cus_' || n, '{status}', now() - interval '5 days',
               CASE WHEN '{status}' = 'completed' THEN now() END
        FROM {_people(every, first)}
    """
    return [
        made,
        *(line for _ in range(credited) for line in _entries(every, first, "purchase", "100", _CREDITED)),
    ]


def _gifts(every: int, first: int, status: str, *, days: int, redeemed: int = 0) -> list[str]:
    """Gifts of 20, paid by their creators, over in so many days; redeemed by people of their own."""
    made = f"""
        INSERT INTO gifts.gift_codes (id, code, creator_id, total_credits, redeemed, status, expires_at)
        SELECT {_GIFT_ID}, 'G' || n, {PERSON}, 20, CASE WHEN '{status}' = 'depleted' THEN 1 ELSE 0 END, '{status}',
               now() + interval '{days} days'
        FROM {_people(every, first)}
    """
    taken = f"""
        INSERT INTO gifts.gift_redemptions (gift_code_id, redeemer_user_id, status, credits_received)
        SELECT {_GIFT_ID}, 'taker-' || n || '-' || m, 'success', 20
        FROM {_people(every, first)}, generate_series(1, {redeemed}) m
    """
    got = f"""
        INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                          description, created_at)
        SELECT 'taker-' || n || '-' || m, 'gift', 'completed', 20, 0, 20, 'gifts', 'old', '2025-11-02'
        FROM {_people(every, first)}, generate_series(1, {redeemed}) m
    """
    have = f"""
        INSERT INTO credits.balances (user_id, balance, total_earned, version)
        SELECT 'taker-' || n || '-' || m, 20, 20, 1 FROM {_people(every, first)}, generate_series(1, {redeemed}) m
    """
    return [*_entries(every, first, "gift", "-20"), made, *([taken, got, have] if redeemed else [])]


def _subscriptions(every: int, first: int, *, due: str, person: str = PERSON) -> str:
    return f"""
        INSERT INTO credits.sync_subscriptions (user_id, active, billing_interval, activated_at, next_charge_at)
        SELECT {person}, true, 'monthly',
               date_trunc('month', now()) - interval '3 months' + mod(n, 28) * interval '1 day', {due}
        FROM {_people(every, first)}
        ON CONFLICT DO NOTHING
    """


def _reservations(every: int, first: int, status: str) -> str:
    return f"""
        INSERT INTO credits.reservations (user_id, amount, reason, status, created_at)
        SELECT {PERSON}, 10, 'chat:answer', '{status}', now() - mod(n, 30) * interval '1 hour'
        FROM {_people(every, first)}
    """


# Who wrote a hundredth of everything: an account of a machine.
_HOT: Final = """
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, created_at)
    SELECT 'hot', 'usage', 'completed', -1, {many} + 1 - m, {many} - m, 'batch', 'old',
           timestamptz '2025-02-01' + m * interval '1 second'
    FROM generate_series(1, {many}) m;
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, created_at)
    VALUES ('hot', 'grant', 'completed', {many}, 0, {many}, 'old', 'old', '2025-01-31');
    INSERT INTO credits.balances (user_id, balance, total_earned, total_spent) VALUES ('hot', 0, {many}, {many})
"""
_UNFINISHED: Final = f"""
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, created_at)
    SELECT {PERSON}, 'usage', (ARRAY['pending', 'failed', 'cancelled'])[1 + mod(n, 3)]::public.transaction_status,
           -1, 0, 0, 'old', 'old', '2025-11-03'
    FROM {_people(500, 17)}
"""

WOUNDS: Final = (
    _HOT,
    _UNFINISHED,
    *_entries(40, 10, "grant", "25", """'{"reason": "welcome", "referenceId": "welcome-1"}'"""),
    *_entries(1009, 8, "usage", "-(b.balance + 3)"),
    *_purchases(10, 1, "completed", credited=1),
    *_purchases(200, 12, "pending", credited=0),
    *_purchases(400, 13, "failed", credited=0),
    *_purchases(1000, 22, "completed", credited=0),
    *_purchases(1000, 32, "completed", credited=2),
    *_purchases(1000, 42, "pending", credited=1),
    *_purchases(100, 14, "pending", credited=0, asked=False),
    *_gifts(50, 2, "active", days=60),
    *_gifts(50, 19, "active", days=-30),
    *_gifts(200, 24, "depleted", days=60, redeemed=1),
    *_gifts(1000, 15, "active", days=60, redeemed=1),
    *_gifts(1000, 16, "depleted", days=60, redeemed=2),
    _subscriptions(400, 20, due="now() - interval '70 days'"),
    _subscriptions(800, 60, due="NULL"),
    _subscriptions(1000, 7, due="now() + interval '3 days'", person="'script-' || n"),
    # charged from the day it happened to run: a day or more further each time
    _subscriptions(
        20, 0, due="date_trunc('month', now()) + interval '1 month' + mod(n / 20, 28) * interval '1 day'"
    ),
    _reservations(50, 3, "reserved"),
    _moved(50, 3, "balance", -10),
    _reservations(50, 4, "refunded"),
    _moved(97, 5, "balance", 7),
    _moved(101, 6, "balance", -4),
    _moved(103, 7, "total_earned", 11),
    f"DELETE FROM credits.balances b USING {_people(1013, 9)} WHERE b.user_id = {PERSON}",
)


def generate(engine: Engine, *, people: int, entries: int, told: Callable[[int], object]) -> None:
    """Fill the empty tables of revision 0001; `told` hears how many of `entries` are there.

    The entries come in the order of their time.  A few more are made by the wounds.
    """
    counts = {"people": people, "entries": entries}
    with transaction(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE credits.transactions DROP CONSTRAINT transactions_pkey")
    for low in range(0, entries, ROWS_PER_STEP):
        high = min(low + ROWS_PER_STEP, entries) - 1
        with transaction(engine) as connection:
            connection.exec_driver_sql(_ENTRIES, {**counts, "low": low, "high": high})
        told(high + 1)
    with transaction(engine) as connection:
        connection.exec_driver_sql(_BALANCES, {**counts, "low": 0, "high": people - 1})
        for statement in _wounds(people, entries):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(_USAGE)
        connection.exec_driver_sql("ALTER TABLE credits.transactions ADD PRIMARY KEY (id)")
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE)")


def _wounds(people: int, entries: int) -> Iterator[str]:
    for statement in WOUNDS:
        yield statement.replace("{people}", str(people)).replace("{many}", str(entries // 100))


def remember(connection: Connection) -> None:
    """Keep everybody's figures beside the tables, for `differing`."""
    connection.exec_driver_sql("CREATE SCHEMA rehearsal")
    connection.exec_driver_sql(
        "CREATE TABLE rehearsal.balances AS"
        " SELECT user_id, balance, total_earned, total_spent FROM credits.balances"
    )


def differing(connection: Connection) -> int:
    """How many people's figures are not what was remembered, to the thousandth; who had none had zeros."""
    found: int = connection.exec_driver_sql("""
        SELECT count(*) FROM rehearsal.balances a FULL JOIN credits.balances b USING (user_id)
        WHERE (b.balance::numeric, b.total_earned::numeric, b.total_spent::numeric)
              IS DISTINCT FROM (coalesce(a.balance, 0)::numeric, coalesce(a.total_earned, 0)::numeric,
                                coalesce(a.total_spent, 0)::numeric)
    """).scalar_one()
    return found


def fingerprint(connection: Connection, *, is_ours: bool) -> tuple[int, str]:
    """How many old entries there are, and a sum over every value of them; opening entries are left out."""
    old = "WHERE version < 0" if is_ours else ""
    row = connection.exec_driver_sql(f"""
        SELECT count(*), sum(hashtextextended(concat_ws(
            '|', id, user_id, type, status, amount::bigint, balance_before::bigint, balance_after::bigint, app_id,
            description, metadata, idempotency_key, created_at, completed_at), 0))
        FROM credits.transactions {old}
    """).one()
    return int(row[0]), str(row[1])
