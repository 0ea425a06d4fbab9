"""The schema of the service that this one replaces: contract, section 4, to the letter."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ENUMS = {
    "transaction_type": "'purchase', 'usage', 'refund', 'gift', 'grant'",
    "transaction_status": "'pending', 'completed', 'failed', 'cancelled'",
    "reservation_status": "'reserved', 'committed', 'refunded'",
    "sync_billing_interval": "'monthly', 'quarterly', 'yearly'",
    "gift_code_type": "'simple', 'personalized'",
    "gift_code_status": "'active', 'depleted', 'expired', 'cancelled', 'refunded'",
    "gift_redemption_status": (
        "'success', 'failed_wrong_user', 'failed_depleted', 'failed_expired', 'failed_already_claimed'"
    ),
}

TABLES = """
CREATE TABLE credits.balances (
    user_id text PRIMARY KEY,
    balance integer NOT NULL DEFAULT 0,
    total_earned integer NOT NULL DEFAULT 0,
    total_spent integer NOT NULL DEFAULT 0,
    version integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE credits.transactions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    type public.transaction_type NOT NULL,
    status public.transaction_status NOT NULL DEFAULT 'pending',
    amount integer NOT NULL,
    balance_before integer NOT NULL,
    balance_after integer NOT NULL,
    app_id text NOT NULL,
    description text NOT NULL,
    metadata jsonb,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE TABLE credits.packages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    description text,
    credits integer NOT NULL,
    price_euro_cents integer NOT NULL,
    stripe_price_id text UNIQUE,
    active boolean NOT NULL DEFAULT true,
    sort_order integer NOT NULL DEFAULT 0,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE credits.purchases (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    package_id uuid REFERENCES credits.packages (id),
    credits integer NOT NULL,
    price_euro_cents integer NOT NULL,
    stripe_payment_intent_id text UNIQUE,
    stripe_customer_id text,
    status public.transaction_status NOT NULL DEFAULT 'pending',
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE TABLE credits.stripe_customers (
    user_id text PRIMARY KEY,
    stripe_customer_id text NOT NULL UNIQUE,
    email text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE credits.usage_stats (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    app_id text NOT NULL,
    credits_used integer NOT NULL,
    date timestamptz NOT NULL,
    metadata jsonb
);
CREATE TABLE credits.reservations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    amount integer NOT NULL,
    reason text NOT NULL,
    status public.reservation_status NOT NULL DEFAULT 'reserved',
    created_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);
CREATE TABLE credits.sync_subscriptions (
    user_id text PRIMARY KEY,
    active boolean NOT NULL DEFAULT false,
    billing_interval public.sync_billing_interval NOT NULL DEFAULT 'monthly',
    amount_charged integer NOT NULL DEFAULT 30,
    activated_at timestamptz,
    next_charge_at timestamptz,
    paused_at timestamptz,
    is_gifted boolean NOT NULL DEFAULT false,
    gifted_by text,
    gifted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE gifts.gift_codes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    code text NOT NULL UNIQUE,
    short_url text,
    creator_id text NOT NULL,
    creator_name text,
    total_credits integer NOT NULL,
    redeemed integer NOT NULL DEFAULT 0,
    type public.gift_code_type NOT NULL DEFAULT 'simple',
    status public.gift_code_status NOT NULL DEFAULT 'active',
    target_email text,
    message text,
    expires_at timestamptz,
    reservation_transaction_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE gifts.gift_redemptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    gift_code_id uuid NOT NULL REFERENCES gifts.gift_codes (id),
    redeemer_user_id text NOT NULL,
    status public.gift_redemption_status NOT NULL,
    credits_received integer NOT NULL DEFAULT 0,
    credit_transaction_id uuid,
    source_app_id text,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Make the old service's schema, for an empty database."""
    op.execute("CREATE SCHEMA credits; CREATE SCHEMA gifts;")
    for name, values in ENUMS.items():
        op.execute(f"CREATE TYPE public.{name} AS ENUM ({values})")
    op.execute(TABLES)


def downgrade() -> None:
    """Leave the database empty."""
    op.execute("DROP SCHEMA credits CASCADE; DROP SCHEMA gifts CASCADE;")
    for name in ENUMS:
        op.execute(f"DROP TYPE public.{name}")
