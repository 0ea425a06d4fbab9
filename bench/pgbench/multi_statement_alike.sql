-- One deduction as one transaction, doing all that the service's does: the key is looked for and kept, the entry has
-- its version, and the usage has its line.
\set u random(0, 999)
\set k random(1, 1000000000000000)
BEGIN;
SELECT balance, version FROM bench.balances WHERE user_id = 'user-' || :u AND balance >= 2 FOR UPDATE \gset
SELECT id FROM bench.entries WHERE user_id = 'user-' || :u AND idempotency_key = 'k-' || :client_id || '-' || :k;
UPDATE bench.balances SET balance = balance - 2, total_spent = total_spent + 2, version = version + 1, updated_at = now() WHERE user_id = 'user-' || :u;
INSERT INTO bench.entries (user_id, version, type, amount, balance_before, balance_after, app_id, description, metadata, idempotency_key) VALUES ('user-' || :u, :version::bigint + 1, 'usage', -2, :balance::numeric, :balance::numeric - 2, 'chat', 'AI message', '{"model":"small"}', 'k-' || :client_id || '-' || :k);
INSERT INTO bench.usage_stats (user_id, app_id, credits_used) VALUES ('user-' || :u, 'chat', 2);
COMMIT;
