CREATE SCHEMA bench;
CREATE TABLE bench.balances (
    user_id text PRIMARY KEY, balance numeric(18,3) NOT NULL, total_earned numeric(18,3) NOT NULL DEFAULT 0,
    total_spent numeric(18,3) NOT NULL DEFAULT 0, version bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bench.transactions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id text NOT NULL, type text NOT NULL,
    status text NOT NULL DEFAULT 'completed', amount numeric(18,3) NOT NULL, balance_before numeric(18,3) NOT NULL,
    balance_after numeric(18,3) NOT NULL, app_id text NOT NULL, description text NOT NULL, metadata jsonb,
    idempotency_key text, created_at timestamptz NOT NULL DEFAULT now(), completed_at timestamptz);
CREATE INDEX ON bench.transactions (user_id, created_at);
INSERT INTO bench.balances (user_id, balance) SELECT 'user-' || g, 1000000000 FROM generate_series(0, 999) g;
CREATE TABLE bench.entries (
    LIKE bench.transactions INCLUDING DEFAULTS, version bigint NOT NULL,
    PRIMARY KEY (id), UNIQUE (user_id, version), UNIQUE (user_id, idempotency_key),
    CHECK (balance_after = balance_before + amount));
CREATE TABLE bench.usage_stats (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id text NOT NULL, app_id text NOT NULL,
    credits_used numeric(18,3) NOT NULL, date timestamptz NOT NULL DEFAULT now());
