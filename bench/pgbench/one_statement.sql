-- The same as one statement.
\set u random(0, 999)
WITH taken AS (
    UPDATE bench.balances SET balance = balance - 2, total_spent = total_spent + 2, version = version + 1, updated_at = now()
    WHERE user_id = 'user-' || :u AND balance >= 2 RETURNING user_id, balance)
INSERT INTO bench.transactions (user_id, type, amount, balance_before, balance_after, app_id, description, metadata)
SELECT user_id, 'usage', -2, balance + 2, balance, 'chat', 'AI message', '{"model":"small"}' FROM taken;
