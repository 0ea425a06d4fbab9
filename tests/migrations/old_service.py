"""A database as the old service left it: its tables, no mark of Alembic, and rows of every kind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from psycopg import sql

from migrations.config import alembic_config, upgrade_to_head
from tests import servers
from tests.support.forking import Process, start_module
from tests.support.process import process_environment

TABLES: Final = {
    "credits.balances": "user_id, balance, total_earned, total_spent, version, created_at, updated_at",
    "credits.transactions": (
        "id, user_id, type, status, amount, balance_before, balance_after, app_id, description, metadata,"
        " idempotency_key, created_at, completed_at"
    ),
    "credits.packages": (
        "id, name, description, credits, price_euro_cents, stripe_price_id, active, sort_order, metadata,"
        " created_at, updated_at"
    ),
    "credits.purchases": (
        "id, user_id, package_id, credits, price_euro_cents, stripe_payment_intent_id, stripe_customer_id,"
        " status, metadata, created_at, completed_at"
    ),
    "credits.stripe_customers": "user_id, stripe_customer_id, email, created_at, updated_at",
    "credits.usage_stats": "id, user_id, app_id, credits_used, date, metadata",
    "credits.reservations": "id, user_id, amount, reason, status, created_at, resolved_at",
    "credits.sync_subscriptions": (
        "user_id, active, billing_interval, amount_charged, activated_at, next_charge_at, paused_at, is_gifted,"
        " gifted_by, gifted_at, created_at, updated_at"
    ),
    "gifts.gift_codes": (
        "id, code, short_url, creator_id, creator_name, total_credits, redeemed, type, status, target_email,"
        " message, expires_at, reservation_transaction_id, created_at, updated_at"
    ),
    "gifts.gift_redemptions": (
        "id, gift_code_id, redeemer_user_id, status, credits_received, credit_transaction_id, source_app_id,"
        " created_at"
    ),
}
"""The old tables and all of their columns (contract, section 4)."""


def run_migrations(database_url: str, what: str = "upgrade", revision: str = "head") -> None:
    """What `python -m migrations …` does, in this process: starting one costs more than migrating."""
    config = alembic_config(database_url)
    if what == "upgrade":
        upgrade_to_head(config, revision)
    else:
        assert what == "downgrade"
        command.downgrade(config, revision)


def run_migrations_command(database_url: str, *arguments: str) -> str:
    """`python -m migrations …`; what it printed."""
    code, output = start_migrations(database_url, *arguments).ended()
    assert code == 0, output
    return output


def start_migrations(database_url: str, *arguments: str) -> Migrating:
    """The same, not waited for."""
    log = servers.shared_home() / f"migrations-{os.urandom(6).hex()}.log"
    environment = {**process_environment({"DATABASE_URL": database_url}), "ENV": "development"}
    return Migrating(start_module("migrations", environment, log, arguments=arguments), log)


@dataclass(frozen=True)
class Migrating:
    """A process that migrates."""

    process: Process
    log: Path

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it printed, at its end."""
        return self.process.wait(300), self.log.read_text()


def make_old_database(database_url: str, *, entries: int = 1_000) -> None:
    """Give an empty database the old service's tables and rows, `entries` of them in the biggest."""
    run_migrations(database_url, "upgrade", "0001")
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE public.alembic_version")
        for statement in ROWS:
            connection.execute(
                statement.replace("ENTRIES", str(entries)).replace("PEOPLE", str(entries // 100)).encode()
            )
        remember(connection)


def remember(connection: psycopg.Connection) -> None:
    """Keep a copy of every old table in the schema `before`."""
    connection.execute("DROP SCHEMA IF EXISTS before CASCADE")
    connection.execute("CREATE SCHEMA before")
    for table in TABLES:
        copy = sql.Identifier("before", table.replace(".", "_"))
        connection.execute(
            sql.SQL("CREATE TABLE {} AS TABLE {}").format(copy, sql.Identifier(*table.split(".")))
        )


def lost_rows(database_url: str) -> dict[str, int]:
    """Of each old table that lost any: how many of the remembered rows are not there value for value."""
    lost = {}
    with psycopg.connect(database_url) as connection:
        for table, columns in TABLES.items():
            query = f"""SELECT count(*) FROM (SELECT {columns} FROM before.{table.replace(".", "_")}
                        EXCEPT ALL SELECT {columns} FROM {table}) lost"""
            row = connection.execute(query.encode()).fetchone()
            if row != (0,):
                lost[table] = -1 if row is None else int(row[0])
    return lost


def remembered(database_url: str) -> dict[str, int]:
    """How many rows of each old table are remembered."""
    with psycopg.connect(database_url) as connection:
        counts = {}
        for table in TABLES:
            name = sql.Identifier("before", table.replace(".", "_"))
            row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
            counts[table] = 0 if row is None else int(row[0])
        return counts


# The many, whose balances add up: a hundred entries each, one person's spread over the whole time.
MANY = """
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, metadata, idempotency_key, created_at, completed_at)
    SELECT 'user-' || mod(n, PEOPLE), kind::public.transaction_type, 'completed', amount,
           0, 0, 'app-' || mod(n, 7), 'entry ' || n,
           CASE mod(n, 5) WHEN 0 THEN NULL WHEN 1 THEN '{}'
               WHEN 2 THEN jsonb_build_object('rate', 0.1, 'tokens', n, 'deep', jsonb_build_array(NULL, true, 1.50))
               WHEN 3 THEN '"text"' ELSE '[1, 2]' END,
           -- the same keys for everybody, and each several times for one person
           CASE WHEN mod(n / PEOPLE, 5) < 4 THEN 'key-' || n / (6 * PEOPLE) END,
           timestamptz '2025-01-01 00:00:00.123456+00' + n * interval '1 minute',
           CASE WHEN mod(n, 11) > 0 THEN timestamptz '2025-01-01 00:00:01+00' + n * interval '1 minute' END
    FROM generate_series(0, ENTRIES - 1) n,
         LATERAL (SELECT (ARRAY['grant', 'usage', 'purchase', 'usage', 'gift', 'refund'])[1 + mod(n / PEOPLE, 6)])
             AS k(kind),
         LATERAL (SELECT CASE WHEN kind = 'usage' THEN -(1 + mod(n, 9)) ELSE 10 + mod(n, 13) END) a(amount)
"""
MANY_IN_A_CHAIN = """
    UPDATE credits.transactions t SET balance_after = s.running, balance_before = s.running - t.amount
    FROM (SELECT id, sum(amount) OVER (PARTITION BY user_id ORDER BY created_at, id) AS running
          FROM credits.transactions) s WHERE s.id = t.id
"""
THEIR_BALANCES = """
    INSERT INTO credits.balances (user_id, balance, total_earned, total_spent, version, created_at)
    SELECT user_id, sum(amount), coalesce(sum(amount) FILTER (WHERE amount > 0 AND type <> 'refund'), 0),
           coalesce(-sum(amount) FILTER (WHERE amount < 0), 0), count(*), min(created_at)
    FROM credits.transactions GROUP BY user_id
"""
USAGE = """
    INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date, metadata)
    SELECT user_id, app_id, -amount, created_at, metadata FROM credits.transactions WHERE type = 'usage'
"""

# The odd: each a person of their own.
ODD = """
    INSERT INTO credits.balances (user_id, balance, total_earned, total_spent, version) VALUES
        ('too-much', 70, 100, 20, 7),        -- more than the entries say
        ('too-little', 10, 100, 20, 2),      -- less
        ('only-a-balance', 50, 50, 0, 1),    -- written by a script, no entry
        ('nothing', 0, 0, 0, 0),
        ('overspent', -3, 10, 13, 2),        -- the old service let parallel uses through; the entries agree
        ('wrong-totals', 5, 99, 1, 1),
        ('holder', 5, 20, 5, 4),             -- 10 in an open reservation
        ('late', 5, 20, 5, 4),
        ('grants', 30, 30, 0, 2),
        ('repeats', 8, 10, 2, 3),
        ('ended-otherwise', 10, 10, 0, 1),
        ('zero', 10, 10, 0, 2),
        ('long-key', 9, 10, 1, 2),
        ('biggest', 2147483647, 2147483647, 0, 1);
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, metadata, idempotency_key, created_at) VALUES
        ('too-much', 'grant', 'completed', 50, 0, 50, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('too-little', 'grant', 'completed', 50, 0, 50, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('no-balance', 'usage', 'completed', -5, 10, 5, 'x', 'x', NULL, 'k', '2025-01-01'),
        ('overspent', 'grant', 'completed', 10, 0, 10, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('overspent', 'usage', 'completed', -13, 10, -3, 'x', 'x', NULL, NULL, '2025-01-02'),
        ('wrong-totals', 'grant', 'completed', 5, 0, 5, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('holder', 'grant', 'completed', 20, 0, 20, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('holder', 'usage', 'completed', -5, 10, 5, 'chat', 'chat:x',
            '{"reservationId": "00000000-0000-4000-8000-000000000002"}', NULL, '2025-01-02'),
        ('late', 'grant', 'completed', 20, 0, 20, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('grants', 'grant', 'completed', 10, 0, 10, 'community', 'Reward: review',
            '{"reason": "review", "referenceId": "review-1"}', NULL, '2025-01-01'),
        ('grants', 'grant', 'completed', 10, 10, 20, 'community', 'Reward: review',
            '{"reason": "review", "referenceId": "review-1"}', NULL, '2025-01-02'),
        ('grants', 'grant', 'completed', 10, 20, 30, 'community', 'Reward: other',
            '{"reason": "review", "referenceId": 7}', NULL, '2025-01-03'),
        ('repeats', 'grant', 'completed', 10, 0, 10, 'x', 'x', NULL, 'k', '2025-01-01'),
        ('repeats', 'usage', 'completed', -1, 10, 9, 'chat', 'first', '{"n": 1.50}', 'k', '2025-01-02'),
        ('repeats', 'usage', 'completed', -1, 9, 8, 'chat', 'second', NULL, 'k', '2025-01-03'),
        ('ended-otherwise', 'grant', 'completed', 10, 0, 10, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('ended-otherwise', 'usage', 'pending', -1, 10, 9, 'x', 'x', NULL, 'pending', '2025-01-02'),
        ('ended-otherwise', 'usage', 'failed', -1, 10, 9, 'x', 'x', NULL, 'failed', '2025-01-02'),
        ('ended-otherwise', 'usage', 'cancelled', -1, 10, 9, 'x', 'x', NULL, 'cancelled', '2025-01-02'),
        ('zero', 'grant', 'completed', 10, 0, 10, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('zero', 'gift', 'completed', 0, 10, 10, 'x', 'x', NULL, NULL, '2025-01-02'),
        ('long-key', 'grant', 'completed', 10, 0, 10, 'x', 'x', NULL, NULL, '2025-01-01'),
        ('long-key', 'usage', 'completed', -1, 10, 9, 'x', 'x', NULL,
            (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) n), '2025-01-02'),
        ('biggest', 'grant', 'completed', 2147483647, 0, 2147483647, 'x', 'x', NULL, NULL, '2025-01-01')
"""
HOLDS = """
    INSERT INTO credits.reservations (id, user_id, amount, reason, status, created_at, resolved_at) VALUES
        ('00000000-0000-4000-8000-000000000001', 'holder', 10, 'chat:x', 'reserved', '2025-01-01', NULL),
        ('00000000-0000-4000-8000-000000000002', 'holder', 5, 'chat:x', 'committed', '2025-01-01', '2025-01-02'),
        ('00000000-0000-4000-8000-000000000003', 'holder', 5, 'chat:x', 'refunded', '2025-01-01', '2025-01-02'),
        ('00000000-0000-4000-8000-000000000004', 'holder', 5, 'chat:x', 'committed', '2025-01-01', NULL),
        ('00000000-0000-4000-8000-000000000005', 'late', 6, 'chat:x', 'reserved', '2023-01-01', NULL),
        ('00000000-0000-4000-8000-000000000006', 'late', 4, 'chat:x', 'reserved', '2023-01-01', NULL),
        ('00000000-0000-4000-8000-000000000007', 'only-a-hold', 3, 'chat:x', 'reserved', '2025-01-01', NULL),
        ('00000000-0000-4000-8000-000000000008', 'gone', 3, 'chat:x', 'refunded', '2025-01-01', '2025-01-02')
"""
SHOP = """
    INSERT INTO credits.packages (id, name, description, credits, price_euro_cents, stripe_price_id, active,
                                  metadata) VALUES
        ('00000000-0000-4000-8000-000000000011', 'Small', NULL, 100, 100, NULL, true, NULL),
        ('00000000-0000-4000-8000-000000000012', 'Old', 'gone', 500, 450, 'price_1', false, '{"discount": 0.1}');
    INSERT INTO credits.purchases (id, user_id, package_id, credits, price_euro_cents, stripe_payment_intent_id,
                                   stripe_customer_id, status, metadata, created_at, completed_at) VALUES
        ('00000000-0000-4000-8000-000000000021', 'buyer', '00000000-0000-4000-8000-000000000011', 100, 100,
            'pi_1', 'cus_1', 'completed', NULL, '2025-01-01', '2025-01-01'),
        ('00000000-0000-4000-8000-000000000022', 'buyer', NULL, 100, 100, NULL, NULL, 'pending', '{}',
            '2025-01-02', NULL),
        ('00000000-0000-4000-8000-000000000023', 'buyer', NULL, 100, 100, 'pi_3', NULL, 'failed', '{"a": 0.5}',
            '2025-01-03', NULL);
    INSERT INTO credits.balances (user_id, balance, total_earned, version) VALUES ('buyer', 100, 100, 1);
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, metadata, created_at) VALUES
        ('buyer', 'purchase', 'completed', 100, 0, 100, 'stripe', 'Small', jsonb_build_object('purchaseId',
            '00000000-0000-4000-8000-000000000021', 'paymentIntentId', 'pi_1'), '2025-01-01');
    INSERT INTO credits.stripe_customers (user_id, stripe_customer_id, email) VALUES
        ('buyer', 'cus_1', 'buyer@example.com'), ('other', 'cus_2', NULL)
"""
SYNC = """
    INSERT INTO credits.sync_subscriptions (user_id, active, billing_interval, amount_charged, activated_at,
                                            next_charge_at, paused_at, is_gifted, gifted_by, gifted_at) VALUES
        ('sync-1', true, 'monthly', 30, '2025-01-31 10:00+00', '2025-02-28 10:00+00', NULL, false, NULL, NULL),
        ('sync-2', false, 'yearly', 360, '2025-01-31', '2026-01-31', '2026-01-31', false, NULL, NULL),
        ('sync-3', true, 'quarterly', 0, NULL, NULL, NULL, true, 'admin', '2025-01-01'),
        ('sync-4', false, 'monthly', 30, NULL, NULL, NULL, false, NULL, NULL)
"""
GIFTS = """
    INSERT INTO credits.balances (user_id, balance, total_earned, total_spent, version) VALUES
        ('giver', 50, 100, 50, 3), ('taker', 20, 20, 0, 1);
    INSERT INTO credits.transactions (id, user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, created_at) VALUES
        ('00000000-0000-4000-8000-000000000031', 'giver', 'grant', 'completed', 100, 0, 100, 'x', 'x', '2025-01-01'),
        ('00000000-0000-4000-8000-000000000032', 'giver', 'gift', 'completed', -20, 100, 80, 'g', '', '2025-01-02'),
        ('00000000-0000-4000-8000-000000000033', 'giver', 'gift', 'completed', -30, 80, 50, 'gifts', 'x', '2025-01-03'),
        ('00000000-0000-4000-8000-000000000034', 'taker', 'gift', 'completed', 20, 0, 20, 'gifts', 'x', '2025-01-04');
    INSERT INTO gifts.gift_codes (id, code, short_url, creator_id, creator_name, total_credits, redeemed, type,
                                  status, target_email, message, expires_at, reservation_transaction_id) VALUES
        ('00000000-0000-4000-8000-000000000041', 'ABC234', 'https://mana.how/g/ABC234', 'giver',
            'Giver', 20, 1, 'simple', 'depleted', NULL, NULL, NULL, '00000000-0000-4000-8000-000000000032'),
        ('00000000-0000-4000-8000-000000000042', 'XYZ789', NULL, 'giver', NULL, 30, 0, 'personalized', 'active',
            'Anna@Example.com', 'hello', '2099-01-01', '00000000-0000-4000-8000-000000000033'),
        ('00000000-0000-4000-8000-000000000043', 'OLD222', NULL, 'giver', NULL, 5, 0, 'simple', 'cancelled', NULL,
            NULL, NULL, NULL);
    INSERT INTO gifts.gift_redemptions (gift_code_id, redeemer_user_id, status, credits_received,
                                        credit_transaction_id, source_app_id) VALUES
        ('00000000-0000-4000-8000-000000000041', 'taker', 'success', 20, '00000000-0000-4000-8000-000000000034', 'x'),
        ('00000000-0000-4000-8000-000000000041', 'other', 'failed_depleted', 0, NULL, NULL)
"""
ROWS: Final = (MANY, MANY_IN_A_CHAIN, THEIR_BALANCES, USAGE, ODD, HOLDS, SHOP, SYNC, GIFTS)
