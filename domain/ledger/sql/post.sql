-- The one door to balances: a list of postings in, an outcome for each out, in one round trip.
--
-- `postings` is a JSON array; each element has the fields of domain.ledger.types.Posting in snake_case.
-- The outcomes come back as arrays, one element a posting, in the order of the postings:
--   outcome        posted | replayed | insufficient | no_balance | too_large
--   balance_after  what the person can spend afterwards (unchanged unless posted); null for no_balance
--   held_after     what is set aside in open reservations afterwards
--   version        the version of the balance that a posted one made, else null
--   total_earned, total_spent   the totals afterwards
--   same_as        replayed inside this list: the position (from 1) of the posting that did it, else null
-- and `first_entries`: for those replayed from an earlier transaction, a JSON array of the entries
-- made then, with the positions.
--
-- The rule, item by item in the order given (domain.ledger.model is the same rule in Python):
--   1. a posting whose key the person has used is replayed: nothing changes;
--   2. a person without a balance is refused, unless the posting may create it;
--   3. spendable = balance + amount - held_change; below zero and lower than before is insufficient,
--      unless the posting may overdraw (taking back what was paid back); an amount that lifts the balance, with
--      what is set aside, above the limit is too large;
--   4. else the balance moves on one version, and an entry is written when amount is not zero.
--
-- `credits.posting` tells the triggers of revision 0002 that the change comes through the door.  It is set inside of the
-- function: a setting of our own in its head would need a superuser to create it.
--
-- Balance rows are locked in the order of user ids before anything is read, and each statement below sees
-- what was committed before it began (READ COMMITTED): so keys used by a transaction that held the lock
-- before us are seen.  A balance that came into being after that is seen too, but nobody's lock is on it:
-- only those in `locked` count.  The planner settings keep to index look-ups, which are right for any list this
-- short; a plan made while the tables were empty would otherwise scan them for ever.  One made while they
-- were known to be small would read the whole index instead: hence ANY and OFFSET 0 below, which leave the
-- planner no other way than looking up each person.  One plan serves every list: planning anew for each costs
-- more than the work.
CREATE OR REPLACE FUNCTION credits.post(
    postings json,
    posted_at timestamptz,
    balance_max numeric,
    OUT outcome text[],
    OUT balance_after numeric[],
    OUT held_after numeric[],
    OUT version bigint[],
    OUT total_earned numeric[],
    OUT total_spent numeric[],
    OUT same_as integer[],
    OUT first_entries text
)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $function$
#variable_conflict use_column
DECLARE
    count_of_postings CONSTANT integer := json_array_length(postings);
    nothing CONSTANT numeric[] := array_fill(NULL::numeric, ARRAY[count_of_postings]);
    earned_change numeric[] := nothing;
    spent_change numeric[] := nothing;
    account record;                       -- one person, to be locked
    locked text[] := '{}';                -- whose balances are locked, in the order of user ids
    next_locked integer := 1;
    is_locked boolean;
    item record;                          -- one posting, with the person's balance as it was found
    person text;                          -- whose running balance the next five are
    spendable numeric; held numeric; earned numeric; spent numeric; made bigint;
    after numeric;
    at integer;
    -- The postings: each reading of the JSON parses all of it, so it is read once.
    ids uuid[]; user_ids text[]; types text[]; amounts numeric[]; held_changes numeric[]; countings text[];
    overdrafts boolean[]; creations boolean[]; app_ids text[]; descriptions text[]; metadatas jsonb[];
    idempotency_keys text[]; posting_keys text[];
BEGIN
    PERFORM set_config('credits.posting', 'on', true);
    SELECT array_agg(p.id), array_agg(p.user_id), array_agg(p.type), array_agg(p.amount),
           array_agg(p.held_change), array_agg(p.counts_as), array_agg(p.may_overdraw),
           array_agg(p.creates_balance), array_agg(p.app_id), array_agg(p.description), array_agg(p.metadata),
           array_agg(p.idempotency_key), array_agg(p.posting_key)
    INTO ids, user_ids, types, amounts, held_changes, countings, overdrafts, creations, app_ids, descriptions,
         metadatas, idempotency_keys, posting_keys
    FROM json_to_recordset(postings) AS p(
        id uuid, user_id text, type text, amount numeric, held_change numeric, counts_as text,
        may_overdraw boolean, creates_balance boolean, app_id text, description text, metadata jsonb,
        idempotency_key text, posting_key text);

    outcome := array_fill(NULL::text, ARRAY[count_of_postings]);
    balance_after := nothing; held_after := nothing; total_earned := nothing; total_spent := nothing;
    version := array_fill(NULL::bigint, ARRAY[count_of_postings]);
    same_as := array_fill(NULL::integer, ARRAY[count_of_postings]);

    -- Lock.  Creating and locking go in one pass in the order of user ids, so that no two lists wait for
    -- each other; ON CONFLICT locks the row that is there already, although it changes nothing.
    IF true = ANY (creations) THEN
        FOR account IN
            SELECT p.user_id, bool_or(p.creates_balance) AS is_created
            FROM unnest(user_ids, creations) AS p(user_id, creates_balance)
            GROUP BY p.user_id ORDER BY p.user_id
        LOOP
            IF account.is_created THEN
                INSERT INTO credits.balances AS b (user_id, created_at, updated_at)
                VALUES (account.user_id, posted_at, posted_at)
                ON CONFLICT (user_id) DO UPDATE SET version = b.version WHERE false;
            ELSE
                PERFORM FROM credits.balances b WHERE b.user_id = account.user_id FOR NO KEY UPDATE;
                CONTINUE WHEN NOT FOUND;
            END IF;
            locked := locked || account.user_id;
        END LOOP;
    ELSE
        locked := ARRAY(
            SELECT b.user_id FROM credits.balances b
            WHERE b.user_id = ANY (user_ids)
            ORDER BY b.user_id FOR NO KEY UPDATE);
    END IF;

    -- Decide, person by person.
    FOR item IN
        SELECT p.position, p.user_id, p.amount, p.held_change, p.counts_as, p.may_overdraw, p.posting_key,
               CASE WHEN p.posting_key IS NOT NULL THEN
                   lag(p.position) OVER (PARTITION BY p.user_id, p.posting_key ORDER BY p.position)
               END AS previous,
               b.balance, b.held, b.total_earned, b.total_spent, b.version,
               e.id IS NOT NULL AS is_used_before
        FROM unnest(user_ids, amounts, held_changes, countings, overdrafts, posting_keys)
             WITH ORDINALITY AS p(user_id, amount, held_change, counts_as, may_overdraw, posting_key, position)
        LEFT JOIN LATERAL (SELECT * FROM credits.balances b WHERE b.user_id = p.user_id OFFSET 0) b ON true
        LEFT JOIN credits.transactions e ON e.user_id = p.user_id AND e.posting_key = p.posting_key
        ORDER BY p.user_id, p.position
    LOOP
        at := item.position;
        IF person IS DISTINCT FROM item.user_id THEN
            person := item.user_id;
            is_locked := locked[next_locked] IS NOT DISTINCT FROM person;
            IF is_locked THEN next_locked := next_locked + 1; END IF;
            spendable := item.balance; held := item.held;
            earned := item.total_earned; spent := item.total_spent; made := item.version;
        END IF;
        after := spendable + item.amount - item.held_change;

        IF NOT is_locked THEN
            outcome[at] := 'no_balance';
            CONTINUE;
        ELSIF item.is_used_before THEN
            outcome[at] := 'replayed';
        ELSIF outcome[item.previous] = 'posted' THEN
            outcome[at] := 'replayed'; same_as[at] := item.previous;
        ELSIF outcome[item.previous] = 'replayed' THEN
            outcome[at] := 'replayed'; same_as[at] := same_as[item.previous];
        ELSIF after < 0 AND after < spendable AND NOT item.may_overdraw THEN
            outcome[at] := 'insufficient';
        ELSIF item.amount > 0 AND after + held + item.held_change > balance_max THEN
            outcome[at] := 'too_large';
        ELSE
            outcome[at] := 'posted';
            earned_change[at] := CASE item.counts_as WHEN 'earned' THEN item.amount ELSE 0 END;
            spent_change[at] := CASE item.counts_as
                WHEN 'spent' THEN -item.amount
                WHEN 'returned' THEN -least(item.amount, greatest(spent, 0))
                ELSE 0
            END;
            spendable := after; held := held + item.held_change; made := made + 1;
            earned := earned + earned_change[at]; spent := spent + spent_change[at];
            version[at] := made;
        END IF;
        balance_after[at] := spendable; held_after[at] := held;
        total_earned[at] := earned; total_spent[at] := spent;
    END LOOP;

    -- Write the entries, then the balances as the last posting of each person left them.
    INSERT INTO credits.transactions (
        id, user_id, type, status, amount, balance_before, balance_after, held_after, version,
        earned_change, spent_change, app_id, description, metadata, idempotency_key, posting_key,
        created_at, completed_at)
    SELECT p.id, p.user_id, p.type::public.transaction_type, 'completed', p.amount,
           balance_after[position] - p.amount, balance_after[position], held_after[position],
           version[position], earned_change[position], spent_change[position],
           p.app_id, p.description, p.metadata, p.idempotency_key, p.posting_key, posted_at, posted_at
    FROM unnest(ids, user_ids, types, amounts, app_ids, descriptions, metadatas, idempotency_keys, posting_keys)
         WITH ORDINALITY AS p(
             id, user_id, type, amount, app_id, description, metadata, idempotency_key, posting_key, position)
    WHERE outcome[position] = 'posted' AND p.amount <> 0;

    UPDATE credits.balances b
    SET balance = post.balance_after[last.position], held = post.held_after[last.position],
        total_earned = post.total_earned[last.position], total_spent = post.total_spent[last.position],
        version = post.version[last.position], updated_at = posted_at
    FROM (
        SELECT p.user_id, max(p.position) AS position
        FROM unnest(user_ids) WITH ORDINALITY AS p(user_id, position)
        WHERE outcome[p.position] = 'posted'
        GROUP BY p.user_id
    ) last
    WHERE b.user_id = last.user_id;

    -- What was used waits here to be added to the usage statistics (domain.usage_stats).
    INSERT INTO ops.usage_pending (user_id, app_id, day, credits_used)
    SELECT p.user_id, p.app_id, (posted_at AT TIME ZONE 'UTC')::date, -p.amount
    FROM unnest(user_ids, types, amounts, app_ids) WITH ORDINALITY AS p(user_id, type, amount, app_id, position)
    WHERE outcome[p.position] = 'posted' AND p.type = 'usage' AND p.amount <> 0;

    IF 'replayed' = ANY (outcome) THEN
        SELECT json_agg(json_build_object('position', p.position, 'entry', e))::text INTO first_entries
        FROM unnest(user_ids, posting_keys) WITH ORDINALITY AS p(user_id, posting_key, position)
        JOIN credits.transactions e ON e.user_id = p.user_id AND e.posting_key = p.posting_key
        WHERE outcome[p.position] = 'replayed' AND same_as[p.position] IS NULL;
    END IF;
    PERFORM set_config('credits.posting', 'off', true);
END
$function$;
