-- Queries with known_at: what had been recorded by a time. An event's recording time precedes its commit, so a time is
-- answerable only when no open transaction can still record an event before it. Each posting transaction holds an
-- advisory lock whose key encodes the time when it began; pg_locks shows these locks to every session.

ALTER TABLE public.loans ADD COLUMN recorded_at timestamptz;
COMMENT ON COLUMN public.loans.recorded_at IS 'when the loan was created; null: before that was noted';

CREATE FUNCTION public.begin_recording() RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The lock comes first, so it is visible before the recording time. Its key is the transaction's start time: a
    -- transaction that posts many times holds one lock, and the server's lock table has room for a few thousand. The
    -- current time replaces it if the clock was set back.
    PERFORM pg_advisory_xact_lock_shared((19534::bigint << 44) | floor(
        extract(epoch FROM least(transaction_timestamp(), clock_timestamp())) * 1000)::bigint);
    RETURN clock_timestamp();
END
$$;
COMMENT ON FUNCTION public.begin_recording IS 'The time for what this transaction is about to record.';

CREATE FUNCTION public.known_until() RETURNS timestamptz
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    -- The statement's start time precedes the reading of the locks. A transaction that takes its lock later records
    -- after that time; one that has released it is visible to every later statement.
    SELECT least(statement_timestamp(), (
        SELECT to_timestamp(min(l.number & ((1::bigint << 44) - 1)) / 1000.0)
        FROM (SELECT classid::bigint << 32 | objid::bigint AS number FROM pg_locks
              WHERE locktype = 'advisory' AND objsubid = 1
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS l
        WHERE l.number >> 44 = 19534))
$$;
COMMENT ON FUNCTION public.known_until IS
    'Nothing will be recorded before this time any more, and a later statement sees all that was. Ask the primary.';

DROP TRIGGER loans_terms_stand ON public.loans;
CREATE TRIGGER loans_terms_stand BEFORE UPDATE ON public.loans
    FOR EACH ROW WHEN ((OLD.loan_id, OLD.start_date, OLD.initial_amt, OLD.currency, OLD.recorded_at)
                       IS DISTINCT FROM (NEW.loan_id, NEW.start_date, NEW.initial_amt, NEW.currency, NEW.recorded_at)
                       OR NEW.version < OLD.version OR NEW.turnover < OLD.turnover)
    EXECUTE FUNCTION public.refuse_change();

-- As before, and with recording times.
CREATE OR REPLACE FUNCTION public.create_loans(loan_ids bigint[], start_dates date[], initial_amts numeric[], currencies text[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded CONSTANT timestamptz := public.begin_recording();
BEGIN
    IF EXISTS (SELECT FROM unnest(initial_amts) AS amt WHERE amt <> round(amt, 2)) THEN
        RAISE EXCEPTION 'an initial_amt has more than two decimals' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO public.loans (loan_id, start_date, initial_amt, currency, recorded_at)
    SELECT l.*, recorded
    FROM unnest(loan_ids, start_dates, initial_amts, currencies) AS l (loan_id, start_date, amt, currency)
    ORDER BY l.loan_id;
END
$$;

CREATE OR REPLACE FUNCTION public.post_events(
    loan_ids bigint[], event_types text[], post_dates date[], amts numeric[],
    source_ids text[] DEFAULT NULL, reversed_ids bigint[] DEFAULT NULL
)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    counts     CONSTANT int[] := ARRAY[cardinality(event_types), cardinality(post_dates), cardinality(amts),
                                       coalesce(cardinality(source_ids), cardinality(loan_ids)),
                                       coalesce(cardinality(reversed_ids), cardinality(loan_ids))];
    wrong      text;
    recorded   timestamptz;
    many_loans CONSTANT int := 500;  -- above this, one notification for all: the queue is written one commit at a time
BEGIN
    IF loan_ids IS NULL OR cardinality(loan_ids) <> ANY (counts) OR array_position(counts, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'the arrays of a batch have one length' USING ERRCODE = 'array_subscript_error';
    END IF;

    -- Locks are taken in the order of ids, so concurrent batches cannot deadlock.
    PERFORM FROM public.loans AS l WHERE l.loan_id IN (SELECT unnest(loan_ids)) ORDER BY l.loan_id FOR NO KEY UPDATE;

    SELECT string_agg(coalesce(u.id::text, 'null'), ', ') INTO wrong
    FROM (SELECT DISTINCT unnest(loan_ids) AS id) AS u
    WHERE NOT EXISTS (SELECT FROM public.loans AS l WHERE l.loan_id = u.id);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'unknown loan: %', wrong USING ERRCODE = 'foreign_key_violation', COLUMN = 'loan_id';
    END IF;

    -- numeric(18, 2) would round without an error
    IF EXISTS (SELECT FROM unnest(amts) AS amt WHERE amt <> round(amt, 2)) THEN
        RAISE EXCEPTION 'an amt has more than two decimals' USING ERRCODE = 'check_violation', COLUMN = 'amt';
    END IF;

    IF reversed_ids IS NOT NULL THEN
        SELECT string_agg(u.reverses::text, ', ') INTO wrong
        FROM unnest(loan_ids, event_types, amts, reversed_ids) AS u (loan_id, event_type, amt, reverses)
        WHERE u.reverses IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.loan_events AS e
            WHERE e.loan_id = u.loan_id AND e.tx_id = u.reverses AND e.event_type = u.event_type
              AND e.amt = u.amt AND e.reverses IS NULL);
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'reverses % names no event of the same loan, type and amount', wrong
                USING ERRCODE = 'foreign_key_violation', COLUMN = 'reverses';
        END IF;
    END IF;

    -- Read while the locks are held: of two batches for a loan, the later version has the later time.
    recorded := public.begin_recording();
    INSERT INTO public.loan_events
        (loan_id, event_type, post_date, amt, version, recorded_at, source_id, reverses)
    SELECT b.loan_id, b.event_type, b.post_date, b.amt, l.version + b.nth, recorded, b.source_id, b.reverses
    FROM (SELECT u.*, row_number() OVER (PARTITION BY u.loan_id ORDER BY u.position) AS nth
          FROM unnest(loan_ids, event_types, post_dates, amts, source_ids, reversed_ids) WITH ORDINALITY
              AS u (loan_id, event_type, post_date, amt, source_id, reverses, position)) AS b
    JOIN public.loans AS l USING (loan_id)
    ORDER BY b.loan_id, b.nth;

    RETURN QUERY
        UPDATE public.loans AS l SET version = l.version + b.events, turnover = l.turnover + b.amt
        FROM (SELECT u.id, count(*) AS events, sum(u.amt) AS amt
              FROM unnest(loan_ids, amts) AS u (id, amt) GROUP BY u.id) AS b
        WHERE l.loan_id = b.id
        RETURNING l.loan_id, l.version;

    -- payload: loan, its new version, transaction; "*" for many loans
    IF (SELECT count(*) FROM (SELECT DISTINCT unnest(loan_ids)) AS u) > many_loans THEN
        PERFORM pg_notify('loaner', format('* 0 %s', pg_current_xact_id()));
    ELSE
        PERFORM pg_notify('loaner', format('%s %s %s', l.loan_id, l.version, pg_current_xact_id()))
        FROM public.loans AS l WHERE l.loan_id IN (SELECT unnest(loan_ids));
    END IF;
END
$$;

REVOKE ALL ON FUNCTION public.begin_recording, public.known_until FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.known_until TO loaner_reader;

-- One plan fits the postings of all loans; planning each execution costs more than it gains.
ALTER FUNCTION public.post_events_once SET plan_cache_mode = force_generic_plan;
