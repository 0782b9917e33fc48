-- Amounts in the minor units of each loan's currency; who posted an event and why; closed periods; recording times that
-- only grow, even if the clock is put back.

-- Nothing is posted while the rows are read; readers wait only for the changes at the end of the transaction.
LOCK TABLE public.loans, public.loan_events IN EXCLUSIVE MODE;

-- The latest time given out: a number of microseconds since 1970. It is a sequence because sequences are not rolled
-- back.
CREATE SEQUENCE public.recording_clock AS bigint MINVALUE 0 START 0;
COMMENT ON SEQUENCE public.recording_clock IS
    'The latest time that was recorded or given out, in microseconds since 1970; the next one is later.';
SELECT setval('public.recording_clock', (extract(epoch FROM greatest(
    clock_timestamp(),
    (SELECT max(recorded_at) FROM public.loans),
    (SELECT max(recorded_at) FROM public.loan_events))) * 1000000)::bigint);

DROP TRIGGER loans_terms_stand ON public.loans;  -- it depends on the type of initial_amt

ALTER TABLE public.loans
    DROP CONSTRAINT loans_initial_amt_check,
    DROP CONSTRAINT loans_turnover_fits,
    ALTER COLUMN initial_amt TYPE numeric,
    ADD COLUMN exponent smallint NOT NULL DEFAULT 2 CHECK (exponent BETWEEN 0 AND 4),
    ADD COLUMN posted_by text CHECK (posted_by <> '');
-- Every later row states its own.
ALTER TABLE public.loans ALTER COLUMN exponent DROP DEFAULT;
COMMENT ON COLUMN public.loans.exponent IS
    'number of decimals of its amounts: that of its currency when it was created';
COMMENT ON COLUMN public.loans.initial_amt IS 'the principal, in whole minor units of its currency';
COMMENT ON COLUMN public.loans.posted_by IS 'who created the loan; null: before that was noted';

ALTER TABLE public.loan_events
    DROP CONSTRAINT loan_events_amt_check,
    ALTER COLUMN amt TYPE numeric,
    ADD CONSTRAINT loan_events_amt_check CHECK (amt > 0 AND amt < 1000000000000000000),
    ADD COLUMN posted_by text CHECK (posted_by <> ''),
    -- neither control characters nor what a spreadsheet takes for a formula
    ADD COLUMN memo text CONSTRAINT loan_events_memo_check
        CHECK (length(memo) BETWEEN 1 AND 200
               AND memo !~ '[\x01-\x1f\x7f-\x9f\u2028\u2029]' AND memo !~ '^\s*[-=+@\uff1d\uff0b\uff0d\uff20]');
COMMENT ON COLUMN public.loan_events.amt IS 'above zero, in whole minor units of the currency of its loan';
COMMENT ON COLUMN public.loan_events.recorded_at IS
    'when it was recorded: later than everything that was recorded, or given out as known_until, before';
COMMENT ON COLUMN public.loan_events.posted_by IS
    'who posted it: the client or user of the token, or the user of the database; null: before that was noted';
COMMENT ON COLUMN public.loan_events.memo IS 'why it was posted, in words';

-- A loan whose amounts fit the minor units of its currency counts in them; the others keep two decimals.
UPDATE public.loans AS l SET exponent = c.exponent
FROM public.currencies AS c
WHERE c.code = l.currency AND c.exponent <> 2
  AND l.initial_amt = trunc(l.initial_amt, c.exponent)
  AND l.initial_amt < 10::numeric ^ (18 - c.exponent)
  AND (l.initial_amt + l.turnover) * 10::numeric ^ c.exponent <= 9223372036854775807
  AND NOT EXISTS (
      SELECT FROM public.loan_events AS e
      WHERE e.loan_id = l.loan_id
        AND (e.amt <> trunc(e.amt, c.exponent) OR e.amt >= 10::numeric ^ (18 - c.exponent)));

ALTER TABLE public.loans
    -- 'NaN' is greater than every number
    ADD CONSTRAINT loans_initial_amt_check CHECK (
        initial_amt >= 0 AND initial_amt = trunc(initial_amt, exponent)
        AND initial_amt < (ARRAY[1e18, 1e17, 1e16, 1e15, 1e14])[exponent + 1]),
    -- so that no order of events can lead a running balance beyond 64 bits of minor units
    ADD CONSTRAINT loans_turnover_fits CHECK (
        initial_amt + turnover <= (ARRAY[9223372036854775807, 922337203685477580.7, 92233720368547758.07,
                                         9223372036854775.807, 922337203685477.5807])[exponent + 1]);

-- A loan's terms stand; its version grows.
CREATE TRIGGER loans_terms_stand BEFORE UPDATE ON public.loans
    FOR EACH ROW WHEN (
        (OLD.loan_id, OLD.start_date, OLD.initial_amt, OLD.currency, OLD.exponent, OLD.recorded_at, OLD.posted_by)
        IS DISTINCT FROM
        (NEW.loan_id, NEW.start_date, NEW.initial_amt, NEW.currency, NEW.exponent, NEW.recorded_at, NEW.posted_by)
        OR NEW.version < OLD.version OR NEW.turnover < OLD.turnover)
    EXECUTE FUNCTION public.refuse_change();

CREATE TABLE public.closed_periods (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    closed_until date CHECK (closed_until BETWEEN '0001-01-01' AND '9999-12-31'),
    why          text NOT NULL CHECK (length(why) BETWEEN 1 AND 1000),
    closed_by    text NOT NULL,
    closed_at    timestamptz NOT NULL
);
COMMENT ON TABLE public.closed_periods IS 'Each closing and reopening of a period. The latest one counts.';
COMMENT ON COLUMN public.closed_periods.closed_until IS
    'no event is dated and no loan starts on or before this day; null: every day is open';
CREATE TRIGGER closed_periods_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.closed_periods
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
GRANT SELECT ON public.closed_periods TO loaner_reader, loaner_poster;

CREATE FUNCTION public.close_period(until date, why text, today date DEFAULT NULL, closed_by text DEFAULT NULL)
RETURNS date LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before date;
BEGIN
    IF until >= coalesce(today, current_date) THEN
        RAISE EXCEPTION 'a period can be closed until yesterday at the latest, not until %', until
            USING ERRCODE = 'check_violation', COLUMN = 'closed_until';
    END IF;
    -- Waits for open postings and blocks new ones: each of them holds this lock, shared.
    PERFORM pg_advisory_xact_lock(1819242340);
    SELECT c.closed_until INTO before FROM public.closed_periods AS c ORDER BY c.id DESC LIMIT 1;
    INSERT INTO public.closed_periods (closed_until, why, closed_by, closed_at)
    VALUES (until, why, session_user || coalesce(' (' || close_period.closed_by || ')', ''), clock_timestamp());
    RETURN before;
END
$$;
COMMENT ON FUNCTION public.close_period IS
    'Close the ledger until a day, or reopen what is later, and return until when it was closed; until null reopens '
    'everything. For the owner of the tables. closed_by: a name beside that of the database''s user.';

-- The functions that follow are called only by functions that set search_path. Every posting calls them several times,
-- so locks are taken in assignments, which PL/pgSQL evaluates faster than PERFORM.

-- Waits while a period is being closed, and keeps one from being closed until the transaction ends.
CREATE FUNCTION public.begin_posting() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- its snapshot may be older than the latest closing
        RAISE EXCEPTION 'posting requires the isolation level READ COMMITTED' USING ERRCODE = 'feature_not_supported';
    END IF;
    RETURN pg_advisory_xact_lock_shared(1819242340);
END
$$;

-- The day until which the ledger is closed; null if every day is open.
CREATE FUNCTION public.closed_until() RETURNS date LANGUAGE sql STABLE AS $$
    SELECT c.closed_until FROM public.closed_periods AS c ORDER BY c.id DESC LIMIT 1
$$;

CREATE FUNCTION public.advance_recording_clock(at_least bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    advanced bigint;
    lock     text;
BEGIN
    -- The lock makes reading and setting the sequence one step. A subtransaction that is rolled back releases it
    -- immediately and in every case; the sequence keeps its value.
    BEGIN
        lock := pg_advisory_xact_lock(1819435875);
        SELECT setval('public.recording_clock', greatest(
                   c.last_value + 1, at_least, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint))
        INTO advanced FROM public.recording_clock AS c;
        RAISE EXCEPTION USING ERRCODE = 'LR001';
    EXCEPTION
        WHEN SQLSTATE 'LR001' THEN RETURN advanced;
    END;
END
$$;
COMMENT ON FUNCTION public.advance_recording_clock IS
    'A time later than every one given out before, in microseconds since 1970: now, if the clock allows.';

CREATE OR REPLACE FUNCTION public.begin_recording() RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    clock  CONSTANT bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    latest bigint;
    began  bigint;
    lock   text;
BEGIN
    -- First the lock, then the time: known_until() sees the lock of each time that may not be committed yet. Its number
    -- is when the transaction began, so that one that posts many times holds one lock: the server has room for some
    -- thousands, of all sessions. If the clock was put back, it is the latest time given out, which is later.
    SELECT last_value INTO latest FROM public.recording_clock;
    began := CASE WHEN latest > clock THEN latest
                  ELSE least(extract(epoch FROM transaction_timestamp()) * 1000000, clock) END;
    lock := pg_advisory_xact_lock_shared((19534::bigint << 44) | (began / 1000));
    RETURN timestamptz 'epoch' + public.advance_recording_clock(began) * interval '1 microsecond';
END
$$;
COMMENT ON FUNCTION public.begin_recording IS
    'The time for what this transaction is about to record: later than every time given out before.';

CREATE OR REPLACE FUNCTION public.known_until() RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reached timestamptz;
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        reached := statement_timestamp();  -- release 1.0.0: safe unless the clock is put back
    ELSE
        -- Everything that is recorded from now on is later, even if the clock is put back.
        reached := timestamptz 'epoch' + public.advance_recording_clock(0) * interval '1 microsecond';
    END IF;
    -- The time comes before the locks: a transaction that takes its lock later, or has ended by then, records after it
    -- or is seen by every later statement.
    RETURN least(reached, (
        SELECT timestamptz 'epoch' + min(l.number & ((1::bigint << 44) - 1)) * interval '1 millisecond'
        FROM (SELECT classid::bigint << 32 | objid::bigint AS number FROM pg_locks
              WHERE locktype = 'advisory' AND objsubid = 1
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS l
        WHERE l.number >> 44 = 19534));
END
$$;
COMMENT ON FUNCTION public.known_until IS
    'Nothing will be recorded before this time any more, and a later statement sees all that was. Only the primary '
    'knows, in a transaction that may write: the time is noted, so that it holds even if the clock is put back.';

CREATE FUNCTION public.to_rfc3339(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

DROP FUNCTION public.create_loans(bigint[], date[], numeric[], text[]);
CREATE FUNCTION public.create_loans(
    loan_ids bigint[], start_dates date[], initial_amts numeric[], currencies text[], posted_by text DEFAULT NULL
)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lock         text;
    closed_until date;
    recorded     timestamptz;
    refused      json;
BEGIN
    lock := public.begin_posting();
    closed_until := public.closed_until();
    SELECT json_agg(json_build_array(r.position - 1, r.loan_id)) INTO refused FROM (
        SELECT u.position, u.loan_id FROM unnest(currencies, loan_ids) WITH ORDINALITY AS u (code, loan_id, position)
        WHERE NOT EXISTS (SELECT FROM public.currencies AS c WHERE c.code = u.code)
        ORDER BY u.position LIMIT 1000) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'a currency of loan % is not in ISO 4217 or has no minor unit', refused -> 0 ->> 1
            USING ERRCODE = 'check_violation', COLUMN = 'currency', DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, r.exponent)) INTO refused FROM (
        SELECT u.position, u.loan_id, c.exponent
        FROM unnest(initial_amts, currencies, loan_ids) WITH ORDINALITY AS u (amt, code, loan_id, position)
        JOIN public.currencies AS c USING (code)
        WHERE (u.amt >= 0 AND scale(u.amt) <= c.exponent AND u.amt < 10::numeric ^ (18 - c.exponent)) IS NOT TRUE
        ORDER BY u.position LIMIT 1000) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'the initial_amt of loan % is not a number of minor units of its currency that can be stored',
            refused -> 0 ->> 1 USING ERRCODE = 'check_violation', COLUMN = 'initial_amt', DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, closed_until)) INTO refused FROM (
        SELECT u.position, u.loan_id FROM unnest(start_dates, loan_ids) WITH ORDINALITY AS u (day, loan_id, position)
        WHERE u.day <= closed_until
        ORDER BY u.position LIMIT 1000) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'loan % starts in a period that is closed until %', refused -> 0 ->> 1, closed_until
            USING ERRCODE = 'check_violation', COLUMN = 'start_date', CONSTRAINT = 'period_is_open', DETAIL = refused;
    END IF;

    recorded := public.begin_recording();
    INSERT INTO public.loans (loan_id, start_date, initial_amt, currency, exponent, recorded_at, posted_by)
    SELECT l.loan_id, l.start_date, round(l.amt, c.exponent), l.code, c.exponent, recorded,
           coalesce(create_loans.posted_by, session_user)
    FROM unnest(loan_ids, start_dates, initial_amts, currencies) AS l (loan_id, start_date, amt, code)
    LEFT JOIN public.currencies AS c USING (code)
    ORDER BY l.loan_id;
END
$$;
COMMENT ON FUNCTION public.create_loans IS
    'Create loans, all or none. The only way into loans. posted_by null: the user of the database.';

-- Why a batch is refused: the first rule that it breaks, with the positions in DETAIL. Returns if it breaks none.
CREATE FUNCTION public.refuse_events(
    loan_ids bigint[], event_types text[], post_dates date[], amts numeric[], reversed_ids bigint[],
    latest_date date
)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    closed_until CONSTANT date := public.closed_until();
    most    CONSTANT int := 1000;  -- positions that an error names
    refused json;
    ids     text;
BEGIN
    SELECT json_agg(json_build_array(r.position - 1, r.id)), string_agg(DISTINCT coalesce(r.id::text, 'null'), ', ')
    INTO refused, ids FROM (
        SELECT u.position, u.id FROM unnest(loan_ids) WITH ORDINALITY AS u (id, position)
        WHERE NOT EXISTS (SELECT FROM public.loans AS l WHERE l.loan_id = u.id)
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'unknown loan: %', ids
            USING ERRCODE = 'foreign_key_violation', COLUMN = 'loan_id', DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, r.exponent, r.currency)) INTO refused FROM (
        SELECT u.position, l.loan_id, l.exponent, l.currency
        FROM unnest(loan_ids, amts) WITH ORDINALITY AS u (loan_id, amt, position)
        JOIN public.loans AS l USING (loan_id)
        WHERE (u.amt > 0 AND scale(u.amt) <= l.exponent AND u.amt < 10::numeric ^ (18 - l.exponent)) IS NOT TRUE
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'an amt of loan % is not a number of minor units of its currency that can be stored',
            refused -> 0 ->> 1 USING ERRCODE = 'check_violation', COLUMN = 'amt', DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, closed_until)) INTO refused FROM (
        SELECT u.position, u.loan_id FROM unnest(loan_ids, post_dates) WITH ORDINALITY AS u (loan_id, day, position)
        WHERE u.day <= closed_until
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'an event of loan % is dated in a period that is closed until %',
            refused -> 0 ->> 1, closed_until
            USING ERRCODE = 'check_violation', COLUMN = 'post_date', CONSTRAINT = 'period_is_open', DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.reverses)), string_agg(r.reverses::text, ', ')
    INTO refused, ids FROM (
        SELECT u.position, u.reverses
        FROM unnest(loan_ids, event_types, amts, reversed_ids) WITH ORDINALITY
            AS u (loan_id, event_type, amt, reverses, position)
        WHERE u.reverses IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.loan_events AS e
            WHERE e.loan_id = u.loan_id AND e.tx_id = u.reverses AND e.event_type = u.event_type
              AND e.amt = u.amt AND e.reverses IS NULL)
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'reverses % names no event of the same loan, type and amount', ids
            USING ERRCODE = 'foreign_key_violation', COLUMN = 'reverses', DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, r.post_date)) INTO refused FROM (
        SELECT u.position, u.loan_id, e.post_date
        FROM unnest(loan_ids, post_dates, reversed_ids) WITH ORDINALITY AS u (loan_id, day, reverses, position)
        JOIN public.loan_events AS e ON e.loan_id = u.loan_id AND e.tx_id = u.reverses
        WHERE u.day < e.post_date
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'a reversal of loan % is dated before the event of % that it reverses',
            refused -> 0 ->> 1, refused -> 0 ->> 2
            USING ERRCODE = 'check_violation', COLUMN = 'post_date', CONSTRAINT = 'reversal_follows_event',
                  DETAIL = refused;
    END IF;

    -- A reversal may have the date of its event, however late that is.
    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, latest_date)) INTO refused FROM (
        SELECT u.position, u.loan_id
        FROM unnest(loan_ids, post_dates, coalesce(reversed_ids, '{}')) WITH ORDINALITY
            AS u (loan_id, day, reverses, position)
        WHERE u.day > latest_date AND NOT EXISTS (
            SELECT FROM public.loan_events AS e
            WHERE e.loan_id = u.loan_id AND e.tx_id = u.reverses AND e.post_date = u.day)
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'an event of loan % is dated after %', refused -> 0 ->> 1, latest_date
            USING ERRCODE = 'check_violation', COLUMN = 'post_date', CONSTRAINT = 'post_date_is_near',
                  DETAIL = refused;
    END IF;

    SELECT json_agg(json_build_array(r.position - 1, r.loan_id)) INTO refused FROM (
        SELECT min(s.position) AS position, s.loan_id FROM (
            SELECT u.position, l.loan_id,
                   (l.initial_amt + l.turnover + sum(u.amt) OVER (PARTITION BY l.loan_id ORDER BY u.position))
                   * 10::numeric ^ l.exponent AS total
            FROM unnest(loan_ids, amts) WITH ORDINALITY AS u (loan_id, amt, position)
            JOIN public.loans AS l USING (loan_id)) AS s
        WHERE s.total > 9223372036854775807
        GROUP BY s.loan_id
        ORDER BY position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'the sum of the amounts of loan % would exceed what the ledger can store', refused -> 0 ->> 1
            USING ERRCODE = 'check_violation', COLUMN = 'amt', CONSTRAINT = 'loans_turnover_fits', DETAIL = refused;
    END IF;
END
$$;

CREATE FUNCTION public.append_events(
    loan_ids bigint[], event_types text[], post_dates date[], amts numeric[], source_ids text[], reversed_ids bigint[],
    memos text[], posted_by text, latest_date date
)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    counts     CONSTANT int[] := ARRAY[cardinality(event_types), cardinality(post_dates), cardinality(amts),
                                       coalesce(cardinality(source_ids), cardinality(loan_ids)),
                                       coalesce(cardinality(reversed_ids), cardinality(loan_ids)),
                                       coalesce(cardinality(memos), cardinality(loan_ids))];
    any_reversal CONSTANT boolean := coalesce(array_remove(reversed_ids, NULL) <> '{}', false);
    lock         text;
    loans        bigint;
    refused      boolean;
    recorded     timestamptz;
    -- notifications are queued and sent one commit at a time: beyond this, one for all
    many_loans   CONSTANT int := 500;
BEGIN
    IF loan_ids IS NULL OR cardinality(loan_ids) <> ANY (counts) OR array_position(counts, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'the arrays of a batch have one length' USING ERRCODE = 'array_subscript_error';
    END IF;
    lock := public.begin_posting();

    -- Locked in the order of ids, so that two batches wait for each other without a deadlock. The rest finds out
    -- whether to look closer; events are aggregated before anything is computed, so that rules cost little per event.
    -- IS NOT TRUE: nulls and NaN are refused, too.
    WITH locked AS MATERIALIZED (
        SELECT l.loan_id, l.initial_amt + l.turnover AS total, l.exponent FROM public.loans AS l
        WHERE l.loan_id IN (SELECT unnest(loan_ids)) ORDER BY l.loan_id FOR NO KEY UPDATE)
    SELECT count(*), bool_or(
        (g.events = g.amts AND g.smallest > 0 AND g.digits <= l.exponent
         AND g.largest < (ARRAY[1e18, 1e17, 1e16, 1e15, 1e14])[l.exponent + 1]
         AND g.last <= coalesce(latest_date, 'infinity')
         AND g.first > coalesce(
             (SELECT c.closed_until FROM public.closed_periods AS c ORDER BY c.id DESC LIMIT 1), '-infinity')
         AND (l.total + g.amt) * (ARRAY[1, 10, 100, 1000, 10000])[l.exponent + 1] <= 9223372036854775807) IS NOT TRUE)
    INTO loans, refused
    FROM (SELECT u.loan_id, min(u.post_date) AS first, max(u.post_date) AS last, count(*) AS events,
                 count(u.amt) AS amts, min(u.amt) AS smallest, max(u.amt) AS largest, max(scale(u.amt)) AS digits,
                 sum(u.amt) AS amt
          FROM unnest(loan_ids, post_dates, amts) AS u (loan_id, post_date, amt) GROUP BY u.loan_id) AS g
    LEFT JOIN locked AS l USING (loan_id);
    IF refused OR any_reversal THEN
        PERFORM public.refuse_events(loan_ids, event_types, post_dates, amts, reversed_ids, latest_date);
    END IF;

    -- Under the locks: of two batches on one loan, the later version has the later time.
    recorded := public.begin_recording();
    INSERT INTO public.loan_events
        (loan_id, event_type, post_date, amt, version, recorded_at, source_id, reverses, posted_by, memo)
    SELECT b.loan_id, b.event_type, b.post_date, round(b.amt, l.exponent), l.version + b.nth, recorded, b.source_id,
           b.reverses, coalesce(append_events.posted_by, session_user), b.memo
    FROM (SELECT u.*, row_number() OVER (PARTITION BY u.loan_id ORDER BY u.position) AS nth
          FROM unnest(loan_ids, event_types, post_dates, amts, source_ids, reversed_ids, memos) WITH ORDINALITY
              AS u (loan_id, event_type, post_date, amt, source_id, reverses, memo, position)) AS b
    JOIN public.loans AS l USING (loan_id)
    ORDER BY b.loan_id, b.nth;

    -- A notification has a loan, its new version, and the transaction; "*" stands for many loans.
    RETURN QUERY
        WITH changed AS (
            UPDATE public.loans AS l SET version = l.version + b.events, turnover = l.turnover + b.amt
            FROM (SELECT u.id, count(*) AS events, sum(u.amt) AS amt
                  FROM unnest(loan_ids, amts) AS u (id, amt) GROUP BY u.id) AS b
            WHERE l.loan_id = b.id
            RETURNING l.loan_id, l.version)
        SELECT c.loan_id, c.version FROM changed AS c
        CROSS JOIN LATERAL (SELECT CASE WHEN loans <= many_loans THEN
            pg_notify('loaner', format('%s %s %s', c.loan_id, c.version, pg_current_xact_id())) END) AS sent;
    IF loans > many_loans THEN
        PERFORM pg_notify('loaner', format('* 0 %s', pg_current_xact_id()));
    END IF;
END
$$;
COMMENT ON FUNCTION public.append_events IS
    'Post a batch of events, all or none, and give each loan''s new version. The only way into loan_events. '
    'posted_by null: the user of the database; latest_date null: any day.';

-- Release 1.0.0 writes two decimals for every currency.
CREATE FUNCTION public.trim_scales(amts numeric[]) RETURNS numeric[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(trim_scale(u.amt) ORDER BY u.position) FROM unnest(amts) WITH ORDINALITY AS u (amt, position)
$$;

CREATE OR REPLACE FUNCTION public.post_events(
    loan_ids bigint[], event_types text[], post_dates date[], amts numeric[],
    source_ids text[] DEFAULT NULL, reversed_ids bigint[] DEFAULT NULL
)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.append_events(
        loan_ids, event_types, post_dates, public.trim_scales(amts), source_ids, reversed_ids, NULL, NULL, NULL)
$$;
COMMENT ON FUNCTION public.post_events IS 'append_events, as release 1.0.0 calls it.';

CREATE FUNCTION public.append_events_once(
    request_id bytea, request_digest bytea, expected_version bigint, today date, loan bigint,
    event_types text[], post_dates date[], amts numeric[], source_ids text[], reversed_ids bigint[], memos text[],
    posted_by text, latest_date date
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept    public.posted_requests;
    lock    text;
    current bigint;
    taken   json;
BEGIN
    lock := public.begin_posting();  -- before the claim: a closing would otherwise wait for those that wait for it
    IF request_id IS NOT NULL THEN
        kept := public.claim_request(request_id, request_digest);
        IF kept.reply IS NOT NULL THEN
            RETURN QUERY SELECT true, kept.reply, kept.made_at;
            RETURN;
        END IF;
    END IF;

    -- Locked as append_events does: what is found now still holds then, and the error names the events in the way.
    SELECT l.version INTO current FROM public.loans AS l WHERE l.loan_id = loan FOR NO KEY UPDATE;
    IF current <> expected_version THEN
        RAISE EXCEPTION 'loan % is at version %, not %', loan, current, expected_version
            USING ERRCODE = 'check_violation', COLUMN = 'expected_version', DETAIL = current;
    END IF;
    SELECT json_agg(json_build_array(c.position - 1, c.field, c.tx_id) ORDER BY c.position, c.field) INTO taken
    FROM (
        SELECT u.position, 'source_id' AS field, e.tx_id
        FROM unnest(source_ids) WITH ORDINALITY AS u (source_id, position)
        JOIN public.loan_events AS e ON e.loan_id = loan AND e.source_id = u.source_id
        UNION ALL
        SELECT u.position, 'reverses', e.tx_id
        FROM unnest(reversed_ids) WITH ORDINALITY AS u (reverses, position)
        JOIN public.loan_events AS e ON e.loan_id = loan AND e.reverses = u.reverses
    ) AS c;
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION 'events are there already' USING ERRCODE = 'unique_violation', COLUMN = 'events', DETAIL = taken;
    END IF;

    PERFORM public.append_events(array_fill(loan, ARRAY[cardinality(amts)]), event_types, post_dates, amts,
                                 source_ids, reversed_ids, memos, append_events_once.posted_by, latest_date);

    SELECT json_build_object(
               'loan_id', l.loan_id, 'date', today,
               'balance', round(public.balance_on(loan, today), l.exponent)::text,
               'currency', l.currency, 'version', l.version, 'recorded_at', public.to_rfc3339(max(e.recorded_at)),
               'events', json_agg(json_build_object('tx_id', e.tx_id, 'version', e.version) ORDER BY e.version)),
           max(e.recorded_at)
    INTO reply, made_at
    FROM public.loans AS l
    JOIN public.loan_events AS e ON e.loan_id = l.loan_id AND e.version > l.version - cardinality(amts)
    WHERE l.loan_id = loan
    GROUP BY l.loan_id;
    repeated := false;
    UPDATE public.posted_requests AS r SET reply = append_events_once.reply, made_at = append_events_once.made_at
    WHERE r.id = request_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.append_events_once IS
    'Post events of one loan and give the reply, or the one that was given to the same request before. '
    'expected_version null: any.';

CREATE OR REPLACE FUNCTION public.post_events_once(
    request_id bytea, request_digest bytea, today date, loan bigint,
    event_types text[], post_dates date[], amts numeric[], source_ids text[], reversed_ids bigint[]
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.append_events_once(request_id, request_digest, NULL, today, loan, event_types, post_dates,
                                            public.trim_scales(amts), source_ids, reversed_ids, NULL, NULL, NULL)
$$;
COMMENT ON FUNCTION public.post_events_once IS 'append_events_once, as release 1.0.0 calls it.';

CREATE FUNCTION public.open_loan_once(
    request_id bytea, request_digest bytea, today date, loan bigint,
    start_date date, initial_amt numeric, currency text, posted_by text
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept public.posted_requests;
    lock text;
BEGIN
    lock := public.begin_posting();
    IF request_id IS NOT NULL THEN
        kept := public.claim_request(request_id, request_digest);
        IF kept.reply IS NOT NULL THEN
            RETURN QUERY SELECT true, kept.reply, kept.made_at;
            RETURN;
        END IF;
    END IF;
    PERFORM public.create_loans(ARRAY[loan], ARRAY[start_date], ARRAY[initial_amt], ARRAY[currency], posted_by);
    repeated := false;
    SELECT json_build_object(
        'start_date', l.start_date, 'initial_amt', l.initial_amt::text, 'loan_id', l.loan_id, 'date', today,
        'balance', round(public.balance_on(loan, today), l.exponent)::text, 'currency', l.currency,
        'version', l.version, 'recorded_at', public.to_rfc3339(l.recorded_at)), l.recorded_at
    INTO reply, made_at FROM public.loans AS l WHERE l.loan_id = loan;
    UPDATE public.posted_requests AS r SET reply = open_loan_once.reply, made_at = open_loan_once.made_at
    WHERE r.id = request_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.open_loan_once IS
    'Create a loan and give the reply, or the one that was given to the same request before.';

CREATE OR REPLACE FUNCTION public.create_loan_once(
    request_id bytea, request_digest bytea, today date, loan bigint,
    start_date date, initial_amt numeric, currency text
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM public.open_loan_once(
        request_id, request_digest, today, loan, start_date, trim_scale(initial_amt), currency, NULL)
$$;
COMMENT ON FUNCTION public.create_loan_once IS 'open_loan_once, as release 1.0.0 calls it.';

REVOKE ALL ON FUNCTION public.close_period, public.begin_posting, public.closed_until, public.advance_recording_clock,
    public.to_rfc3339, public.trim_scales, public.create_loans, public.refuse_events, public.append_events,
    public.append_events_once, public.open_loan_once FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.create_loans, public.append_events, public.append_events_once, public.open_loan_once,
    public.trim_scales TO loaner_poster;
