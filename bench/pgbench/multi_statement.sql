-- One deduction as one transaction of several statements: lock and read, write the balance, write the entry.
\set u random(0, 999)
BEGIN;
SELECT balance, version FROM bench.balances WHERE user_id = 'user-' || :u AND balance >= 2 FOR UPDATE;
UPDATE bench.balances SET balance = balance - 2, total_spent = total_spent + 2, version = version + 1, updated_at = now() WHERE user_id = 'user-' || :u;
INSERT INTO bench.transactions (user_id, type, amount, balance_before, balance_after, app_id, description, metadata) VALUES ('user-' || :u, 'usage', -2, 100, 98, 'chat', 'AI message', '{"model":"small"}');
COMMIT;
