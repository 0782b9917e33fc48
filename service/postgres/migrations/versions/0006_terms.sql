-- Terms and schedules: append-only records of a loan, which take its next version as events do. And credits of interest.

-- Readers wait until the end of the transaction, which changes no row.
LOCK TABLE public.loans, public.loan_events IN ACCESS EXCLUSIVE MODE;

-- Not validated, since that would read the table while readers wait. Every row satisfies the narrower constraint that
-- this one replaces.
ALTER TABLE public.loan_events
    DROP CONSTRAINT loan_events_event_type_check,
    ADD CONSTRAINT loan_events_event_type_check
        CHECK (event_type IN ('fee', 'interest', 'payment', 'interest_credit')) NOT VALID;

ALTER TABLE public.loans ADD COLUMN agreements bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN public.loans.version IS 'how many records the loan has: events, terms and schedules';
COMMENT ON COLUMN public.loans.agreements IS
    'how many of its records are terms and schedules; 0: queries need not look for any';

DROP TRIGGER loans_terms_stand ON public.loans;
CREATE TRIGGER loans_terms_stand BEFORE UPDATE ON public.loans
    FOR EACH ROW WHEN (
        (OLD.loan_id, OLD.start_date, OLD.initial_amt, OLD.currency, OLD.exponent, OLD.recorded_at, OLD.posted_by,
         OLD.created_in)
        IS DISTINCT FROM
        (NEW.loan_id, NEW.start_date, NEW.initial_amt, NEW.currency, NEW.exponent, NEW.recorded_at, NEW.posted_by,
         NEW.created_in)
        OR NEW.version < OLD.version OR NEW.turnover < OLD.turnover OR NEW.agreements < OLD.agreements)
    EXECUTE FUNCTION public.refuse_change();

CREATE FUNCTION public.is_ascending(days date[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT days = (SELECT array_agg(u.day ORDER BY u.day) FROM unnest(days) AS u (day))
$$;

-- The new tables have as many partitions as the others.
DO $do$
DECLARE
    parts  CONSTANT int := (SELECT count(*) FROM pg_inherits WHERE inhparent = 'public.loan_events'::regclass);
    suffix CONSTANT text := CASE WHEN parts > 0 THEN ' PARTITION BY HASH (loan_id)' ELSE '' END;
    name   text;
    made   text;
BEGIN
    EXECUTE $sql$CREATE TABLE public.loan_terms (
        loan_id        bigint NOT NULL REFERENCES public.loans,
        version        bigint NOT NULL,
        effective_date date NOT NULL CHECK (effective_date BETWEEN '0001-01-01' AND '9999-12-31'),
        rate           numeric NOT NULL CHECK (rate BETWEEN 0 AND 10 AND scale(rate) <= 8),
        day_count      text NOT NULL CHECK (day_count IN ('ACT/365F', 'ACT/360', 'ACT/ACT', '30E/360')),
        allocation     text[] NOT NULL
            CHECK (array_ndims(allocation) = 1 AND cardinality(allocation) = 3
                   AND allocation @> '{fees,interest,principal}'),
        grace_days     int NOT NULL CHECK (grace_days BETWEEN 0 AND 3650),
        reverses       bigint,
        source_id      text CHECK (source_id <> ''),
        memo           text CHECK (length(memo) BETWEEN 1 AND 200
                                   AND memo !~ '[\x01-\x1f\x7f-\x9f\u2028\u2029]'
                                   AND memo !~ '^\s*[-=+@\uff1d\uff0b\uff0d\uff20]'),
        recorded_at    timestamptz NOT NULL,
        posted_by      text NOT NULL CHECK (posted_by <> ''),
        PRIMARY KEY (loan_id, version)
    )$sql$ || suffix;
    EXECUTE $sql$CREATE TABLE public.loan_schedules (
        loan_id        bigint NOT NULL REFERENCES public.loans,
        version        bigint NOT NULL,
        effective_date date NOT NULL CHECK (effective_date BETWEEN '0001-01-01' AND '9999-12-31'),
        due_dates      date[] NOT NULL
            CHECK (cardinality(due_dates) BETWEEN 1 AND 1200 AND array_position(due_dates, NULL) IS NULL
                   AND '0001-01-01' <= ALL (due_dates) AND '9999-12-31' >= ALL (due_dates)
                   AND public.is_ascending(due_dates)),
        amts           numeric[] NOT NULL
            CHECK (cardinality(amts) = cardinality(due_dates) AND array_position(amts, NULL) IS NULL
                   AND 0 < ALL (amts) AND 1000000000000000000 > ALL (amts)),
        method         jsonb CHECK (jsonb_typeof(method) = 'object'),
        reverses       bigint,
        source_id      text CHECK (source_id <> ''),
        memo           text CHECK (length(memo) BETWEEN 1 AND 200
                                   AND memo !~ '[\x01-\x1f\x7f-\x9f\u2028\u2029]'
                                   AND memo !~ '^\s*[-=+@\uff1d\uff0b\uff0d\uff20]'),
        recorded_at    timestamptz NOT NULL,
        posted_by      text NOT NULL CHECK (posted_by <> ''),
        PRIMARY KEY (loan_id, version)
    )$sql$ || suffix;
    FOREACH name IN ARRAY ARRAY['loan_terms', 'loan_schedules'] LOOP
        FOR n IN 0 .. parts - 1 LOOP
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
                           name || '_p' || n, name, parts, n);
        END LOOP;
        -- The ids of terms, schedules and events come from different lists of the caller, so equal ids are no mistake.
        EXECUTE format('CREATE UNIQUE INDEX %I ON public.%I (loan_id, source_id) WHERE source_id IS NOT NULL',
                       name || '_source', name);
        EXECUTE format('CREATE UNIQUE INDEX %I ON public.%I (loan_id, reverses) WHERE reverses IS NOT NULL',
                       name || '_reverses', name);
        -- A statement trigger fires only on the table that the statement names.
        FOREACH made IN ARRAY name || ARRAY(SELECT name || '_p' || n FROM generate_series(0, parts - 1) AS n) LOOP
            EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON public.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change()', name || '_append_only', made);
        END LOOP;
        EXECUTE format($sql$COMMENT ON COLUMN public.%I.version IS 'the version of its loan that this record made'$sql$, name);
        EXECUTE format($sql$COMMENT ON COLUMN public.%I.source_id IS
            'the caller''s own id of the record, unique among the records of this table and loan'$sql$, name);
        EXECUTE format($sql$COMMENT ON COLUMN public.%I.reverses IS
            'the version of the record that this one takes back: neither of them counts'$sql$, name);
    END LOOP;
END
$do$;
COMMENT ON TABLE public.loan_terms IS
    'Terms of loans. Of those with one effective date, the last recorded one that is not reversed counts.';
COMMENT ON COLUMN public.loan_terms.rate IS 'per year: 0.1 is 10 %';
COMMENT ON COLUMN public.loan_terms.allocation IS 'what a payment pays first';
COMMENT ON TABLE public.loan_schedules IS
    'Schedules of loans. Of those with one effective date, the last recorded one that is not reversed counts.';
COMMENT ON COLUMN public.loan_schedules.amts IS 'what is due on each of due_dates, in whole minor units';
COMMENT ON COLUMN public.loan_schedules.method IS 'how the installments were computed; null: they were given';
COMMENT ON COLUMN public.closed_periods.closed_until IS
    'no event is dated, no loan starts, and no terms or schedule take effect on or before this day; null: every day is '
    'open';
GRANT SELECT ON public.loan_terms, public.loan_schedules TO loaner_reader, loaner_poster;

CREATE OR REPLACE FUNCTION public.balance_on(loan bigint, day date) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN day < l.start_date THEN 0 ELSE l.initial_amt + coalesce((
        SELECT sum(CASE WHEN (e.event_type IN ('payment', 'interest_credit')) = (e.reverses IS NULL)
                        THEN - e.amt ELSE e.amt END)
        FROM public.loan_events AS e WHERE e.loan_id = l.loan_id AND e.post_date <= day), 0) END
    FROM public.loans AS l WHERE l.loan_id = loan
$$;

-- Reading. These are functions so that a query of loans without terms and schedules does not prepare to look for any,
-- which takes longer than reading such a loan. They are stable, so they see the snapshot of the query.

CREATE FUNCTION public.applying_terms(loan bigint, at_version bigint) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (t.effective_date) t.version FROM public.loan_terms AS t
    WHERE t.loan_id = loan AND t.version <= at_version AND t.reverses IS NULL
      AND NOT EXISTS (SELECT FROM public.loan_terms AS r
                      WHERE r.loan_id = loan AND r.reverses = t.version AND r.version <= at_version)
    ORDER BY t.effective_date, t.version DESC
$$;
COMMENT ON FUNCTION public.applying_terms IS
    'The versions of the terms that apply from their effective dates on, as far as a version of the loan knows.';

CREATE FUNCTION public.applying_schedules(loan bigint, at_version bigint) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (s.effective_date) s.version FROM public.loan_schedules AS s
    WHERE s.loan_id = loan AND s.version <= at_version AND s.reverses IS NULL
      AND NOT EXISTS (SELECT FROM public.loan_schedules AS r
                      WHERE r.loan_id = loan AND r.reverses = s.version AND r.version <= at_version)
    ORDER BY s.effective_date, s.version DESC
$$;
COMMENT ON FUNCTION public.applying_schedules IS 'As applying_terms.';

CREATE FUNCTION public.terms_of(loan bigint, at_version bigint) RETURNS json LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT json_agg(json_build_array(t.effective_date - DATE '1970-01-01', (t.rate * 100000000)::bigint,
                                         t.day_count, t.allocation, t.grace_days) ORDER BY t.effective_date)
        FROM public.applying_terms(loan, at_version) AS a (version)
        JOIN public.loan_terms AS t ON t.loan_id = loan AND t.version = a.version);
END
$$;
COMMENT ON FUNCTION public.terms_of IS
    'The terms that apply: effective day since 1970-01-01, rate in units of 1e-8, day count, allocation, grace days.';

CREATE FUNCTION public.schedules_of(loan bigint, at_version bigint, exponent int) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT json_agg(json_build_array(s.effective_date - DATE '1970-01-01', (
                   SELECT json_agg(json_build_array(i.due_date - DATE '1970-01-01',
                                                    (i.amt * 10::numeric ^ exponent)::bigint) ORDER BY i.position)
                   FROM unnest(s.due_dates, s.amts) WITH ORDINALITY AS i (due_date, amt, position)))
               ORDER BY s.effective_date)
        FROM public.applying_schedules(loan, at_version) AS a (version)
        JOIN public.loan_schedules AS s ON s.loan_id = loan AND s.version = a.version);
END
$$;
COMMENT ON FUNCTION public.schedules_of IS
    'The schedules that apply: effective day since 1970-01-01, and pairs of due day and minor units.';

GRANT EXECUTE ON FUNCTION public.applying_terms, public.applying_schedules, public.terms_of, public.schedules_of
    TO loaner_reader, loaner_poster;

-- The functions that follow are called only by functions that set search_path.

-- Raises the versions of the loans of a batch by their records, and notifies. `amts` is null for terms and schedules.
CREATE FUNCTION public.advance_versions(loan_ids bigint[], amts numeric[], loans bigint)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE plpgsql AS $$
DECLARE
    -- notifications are queued and sent one commit at a time: beyond this, one for all
    many_loans CONSTANT int := 500;
BEGIN
    -- A notification has a loan, its new version, and the transaction; "*" stands for many loans.
    RETURN QUERY
        WITH changed AS (
            UPDATE public.loans AS l
            SET version = l.version + b.records, turnover = l.turnover + coalesce(b.amt, 0),
                agreements = l.agreements + CASE WHEN amts IS NULL THEN b.records ELSE 0 END
            FROM (SELECT u.id, count(*) AS records, sum(u.amt) AS amt
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

CREATE OR REPLACE FUNCTION public.append_events(
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
    RETURN QUERY SELECT * FROM public.advance_versions(loan_ids, amts, loans);
END
$$;

-- For postings that were computed from what was read: nothing is appended to a loan that has changed since.
CREATE FUNCTION public.append_events_at(
    loan_ids bigint[], expected_versions bigint[], event_types text[], post_dates date[], amts numeric[],
    memos text[], posted_by text, latest_date date
)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lock      text;
    unchanged bigint[];
BEGIN
    lock := public.begin_posting();
    WITH locked AS MATERIALIZED (
        SELECT l.loan_id, l.version FROM public.loans AS l
        WHERE l.loan_id IN (SELECT unnest(loan_ids)) ORDER BY l.loan_id FOR NO KEY UPDATE)
    SELECT array_agg(u.loan_id) INTO unchanged
    FROM unnest(loan_ids, expected_versions) AS u (loan_id, version) JOIN locked AS l USING (loan_id, version);
    RETURN QUERY
        SELECT posted.* FROM (
            SELECT array_agg(u.loan_id) AS loan_ids, array_agg(u.event_type) AS event_types,
                   array_agg(u.post_date) AS post_dates, array_agg(u.amt) AS amts, array_agg(u.memo) AS memos
            FROM unnest(loan_ids, event_types, post_dates, amts, memos)
                AS u (loan_id, event_type, post_date, amt, memo)
            WHERE u.loan_id = ANY (unchanged)) AS batch
        CROSS JOIN LATERAL public.append_events(
            batch.loan_ids, batch.event_types, batch.post_dates, batch.amts, NULL, NULL, batch.memos,
            append_events_at.posted_by, latest_date) AS posted
        WHERE batch.loan_ids IS NOT NULL;
END
$$;
COMMENT ON FUNCTION public.append_events_at IS
    'Post one event to each of these loans that has the expected version, and give the new versions of these loans.';

-- Begins to post to one loan: takes the locks, and returns the reply that was given to the same request before.
CREATE FUNCTION public.claim_posting(
    request_id bytea, request_digest bytea, loan bigint, expected_version bigint
)
RETURNS public.posted_requests LANGUAGE plpgsql AS $$
DECLARE
    kept    public.posted_requests;
    lock    text;
    current bigint;
BEGIN
    lock := public.begin_posting();  -- before the claim: a closing would otherwise wait for those that wait for it
    IF request_id IS NOT NULL THEN
        kept := public.claim_request(request_id, request_digest);
        IF kept.reply IS NOT NULL THEN
            RETURN kept;
        END IF;
    END IF;
    -- What is found under this lock still holds when the records are appended.
    SELECT l.version INTO current FROM public.loans AS l WHERE l.loan_id = loan FOR NO KEY UPDATE;
    IF current <> expected_version THEN
        RAISE EXCEPTION 'loan % is at version %, not %', loan, current, expected_version
            USING ERRCODE = 'check_violation', COLUMN = 'expected_version', DETAIL = current;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION public.append_events_once(
    request_id bytea, request_digest bytea, expected_version bigint, today date, loan bigint,
    event_types text[], post_dates date[], amts numeric[], source_ids text[], reversed_ids bigint[], memos text[],
    posted_by text, latest_date date
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept  public.posted_requests;
    taken json;
BEGIN
    kept := public.claim_posting(request_id, request_digest, loan, expected_version);
    IF kept.reply IS NOT NULL THEN
        RETURN QUERY SELECT true, kept.reply, kept.made_at;
        RETURN;
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
               'events', json_agg(json_build_object(
                   'tx_id', e.tx_id, 'version', e.version, 'event_type', e.event_type, 'post_date', e.post_date,
                   'amt', round(e.amt, l.exponent)::text) ORDER BY e.version)),
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

-- What terms and schedules have in common. `agreements` is the table.

-- Begins a batch: takes the locks, refuses what breaks a rule, and returns when it is recorded. `counts` are the lengths
-- of the batch's arrays that must not be missing.
CREATE FUNCTION public.begin_agreements(
    agreements regclass, loan_ids bigint[], effective_dates date[], reversed_versions bigint[], source_ids text[],
    memos text[], counts int[]
)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    lengths CONSTANT int[] := counts || ARRAY[cardinality(effective_dates),
                                              coalesce(cardinality(reversed_versions), cardinality(loan_ids)),
                                              coalesce(cardinality(source_ids), cardinality(loan_ids)),
                                              coalesce(cardinality(memos), cardinality(loan_ids))];
    most    CONSTANT int := 1000;  -- positions that an error names
    lock         text;
    closed_until date;
    refused      json;
BEGIN
    IF loan_ids IS NULL OR cardinality(loan_ids) <> ANY (lengths) OR array_position(lengths, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'the arrays of a batch have one length' USING ERRCODE = 'array_subscript_error';
    END IF;
    lock := public.begin_posting();
    closed_until := public.closed_until();
    -- In the order of ids, as append_events does.
    PERFORM FROM public.loans AS l WHERE l.loan_id IN (SELECT unnest(loan_ids)) ORDER BY l.loan_id FOR NO KEY UPDATE;

    SELECT json_agg(json_build_array(r.position - 1, r.id)) INTO refused FROM (
        SELECT u.position, u.id FROM unnest(loan_ids) WITH ORDINALITY AS u (id, position)
        WHERE NOT EXISTS (SELECT FROM public.loans AS l WHERE l.loan_id = u.id)
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'unknown loan: %', refused -> 0 ->> 1
            USING ERRCODE = 'foreign_key_violation', COLUMN = 'loan_id', DETAIL = refused;
    END IF;

    EXECUTE format($sql$
        SELECT json_agg(json_build_array(r.position - 1, r.reverses)) FROM (
            SELECT u.position, u.reverses
            FROM unnest($1, $2) WITH ORDINALITY AS u (loan_id, reverses, position)
            WHERE u.reverses IS NOT NULL AND NOT EXISTS (
                SELECT FROM %s AS a WHERE a.loan_id = u.loan_id AND a.version = u.reverses AND a.reverses IS NULL)
            ORDER BY u.position LIMIT $3) AS r
    $sql$, agreements) INTO refused USING loan_ids, reversed_versions, most;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'reverses % names no record of % and the same loan', refused -> 0 ->> 1, agreements
            USING ERRCODE = 'foreign_key_violation', COLUMN = 'reverses', DETAIL = refused;
    END IF;

    -- A reversal has the effective date of what it reverses.
    EXECUTE format($sql$
        SELECT json_agg(json_build_array(r.position - 1, r.loan_id, $4)) FROM (
            SELECT u.position, u.loan_id
            FROM unnest($1, $2, $3) WITH ORDINALITY AS u (loan_id, day, reverses, position)
            LEFT JOIN %s AS a ON a.loan_id = u.loan_id AND a.version = u.reverses
            WHERE coalesce(a.effective_date, u.day) <= $4
            ORDER BY u.position LIMIT $5) AS r
    $sql$, agreements) INTO refused USING loan_ids, effective_dates, reversed_versions, closed_until, most;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'a record of loan % is effective in a period that is closed until %',
            refused -> 0 ->> 1, closed_until
            USING ERRCODE = 'check_violation', COLUMN = 'effective_date', CONSTRAINT = 'period_is_open',
                  DETAIL = refused;
    END IF;
    RETURN public.begin_recording();
END
$$;

-- Raises the versions of the loans of a batch of terms or schedules, and notifies.
CREATE FUNCTION public.end_agreements(loan_ids bigint[]) RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE sql AS $$
    SELECT * FROM public.advance_versions(
        loan_ids, NULL, (SELECT count(DISTINCT u.id) FROM unnest(loan_ids) AS u (id)))
$$;

-- Refuses a record whose source_id is taken, or that reverses what is already reversed, and names the one in the way.
CREATE FUNCTION public.refuse_taken(agreements regclass, loan bigint, source_id text, reversed_version bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    taken json;
BEGIN
    EXECUTE format($sql$
        SELECT json_agg(json_build_array(c.field, c.version) ORDER BY c.field) FROM (
            SELECT 'source_id' AS field, a.version FROM %1$s AS a WHERE a.loan_id = $1 AND a.source_id = $2
            UNION ALL
            SELECT 'reverses', a.version FROM %1$s AS a WHERE a.loan_id = $1 AND a.reverses = $3) AS c
    $sql$, agreements) INTO taken USING loan, source_id, reversed_version;
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION 'the record is there already'
            USING ERRCODE = 'unique_violation', COLUMN = 'record', DETAIL = taken;
    END IF;
END
$$;

CREATE FUNCTION public.append_terms(
    loan_ids bigint[], effective_dates date[], rates numeric[], day_counts text[], allocations text[], grace_days int[],
    reversed_versions bigint[], source_ids text[], memos text[], posted_by text
)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded CONSTANT timestamptz := public.begin_agreements(
        'public.loan_terms', loan_ids, effective_dates, reversed_versions, source_ids, memos,
        ARRAY[cardinality(rates), cardinality(day_counts), cardinality(allocations), cardinality(grace_days)]);
BEGIN
    INSERT INTO public.loan_terms
        (loan_id, version, effective_date, rate, day_count, allocation, grace_days, reverses, source_id, memo,
         recorded_at, posted_by)
    SELECT b.loan_id, l.version + b.nth, coalesce(r.effective_date, b.effective_date), coalesce(r.rate, b.rate),
           coalesce(r.day_count, b.day_count), coalesce(r.allocation, b.allocation::text[]),
           coalesce(r.grace_days, b.grace_days), b.reverses, b.source_id, b.memo, recorded,
           coalesce(append_terms.posted_by, session_user)
    FROM (SELECT u.*, row_number() OVER (PARTITION BY u.loan_id ORDER BY u.position) AS nth
          FROM unnest(loan_ids, effective_dates, rates, day_counts, allocations, append_terms.grace_days,
                      reversed_versions, source_ids, memos) WITH ORDINALITY
              AS u (loan_id, effective_date, rate, day_count, allocation, grace_days, reverses, source_id, memo,
                    position)) AS b
    JOIN public.loans AS l USING (loan_id)
    LEFT JOIN public.loan_terms AS r ON r.loan_id = b.loan_id AND r.version = b.reverses
    ORDER BY b.loan_id, b.nth;
    RETURN QUERY SELECT * FROM public.end_agreements(loan_ids);
END
$$;
COMMENT ON FUNCTION public.append_terms IS
    'Append a batch of terms, all or none, and give each loan''s new version. The only way into loan_terms. Each of '
    'allocations is an array as text. A reversal has the members of what it reverses; its own are ignored. posted_by '
    'null: the user of the database.';

CREATE FUNCTION public.append_schedules(
    loan_ids bigint[], effective_dates date[], due_dates text[], amts text[], methods jsonb[],
    reversed_versions bigint[], source_ids text[], memos text[], posted_by text
)
RETURNS TABLE (posted_loan_id bigint, new_version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded CONSTANT timestamptz := public.begin_agreements(
        'public.loan_schedules', loan_ids, effective_dates, reversed_versions, source_ids, memos,
        ARRAY[cardinality(due_dates), cardinality(amts), coalesce(cardinality(methods), cardinality(loan_ids))]);
    most     CONSTANT int := 1000;
    refused  json;
BEGIN
    SELECT json_agg(json_build_array(r.position - 1, r.loan_id, r.nth - 1, r.exponent, r.currency)) INTO refused FROM (
        SELECT u.position, l.loan_id, i.nth, l.exponent, l.currency
        FROM unnest(loan_ids, amts) WITH ORDINALITY AS u (loan_id, amts, position)
        JOIN public.loans AS l USING (loan_id)
        CROSS JOIN LATERAL unnest(u.amts::numeric[]) WITH ORDINALITY AS i (amt, nth)
        WHERE (i.amt > 0 AND scale(i.amt) <= l.exponent AND i.amt < 10::numeric ^ (18 - l.exponent)) IS NOT TRUE
        ORDER BY u.position, i.nth LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'an amt of loan % is not a number of minor units of its currency that can be stored',
            refused -> 0 ->> 1 USING ERRCODE = 'check_violation', COLUMN = 'amt', DETAIL = refused;
    END IF;
    SELECT json_agg(json_build_array(r.position - 1, r.loan_id)) INTO refused FROM (
        SELECT u.position, l.loan_id
        FROM unnest(loan_ids, amts) WITH ORDINALITY AS u (loan_id, amts, position)
        JOIN public.loans AS l USING (loan_id)
        WHERE (SELECT sum(i.amt) FROM unnest(u.amts::numeric[]) AS i (amt)) * 10::numeric ^ l.exponent
              > 9223372036854775807
        ORDER BY u.position LIMIT most) AS r;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'the sum of a schedule of loan % would exceed what the ledger can store', refused -> 0 ->> 1
            USING ERRCODE = 'check_violation', COLUMN = 'amt', CONSTRAINT = 'schedule_fits', DETAIL = refused;
    END IF;

    INSERT INTO public.loan_schedules
        (loan_id, version, effective_date, due_dates, amts, method, reverses, source_id, memo, recorded_at, posted_by)
    SELECT b.loan_id, l.version + b.nth, coalesce(r.effective_date, b.effective_date),
           coalesce(r.due_dates, b.due_dates::date[]),
           coalesce(r.amts, ARRAY(SELECT round(i.amt, l.exponent)
                                  FROM unnest(b.amts::numeric[]) WITH ORDINALITY AS i (amt, nth) ORDER BY i.nth)),
           CASE WHEN b.reverses IS NULL THEN b.method ELSE r.method END, b.reverses, b.source_id, b.memo, recorded,
           coalesce(append_schedules.posted_by, session_user)
    FROM (SELECT u.*, row_number() OVER (PARTITION BY u.loan_id ORDER BY u.position) AS nth
          FROM unnest(loan_ids, effective_dates, append_schedules.due_dates, append_schedules.amts, methods,
                      reversed_versions, source_ids, memos) WITH ORDINALITY
              AS u (loan_id, effective_date, due_dates, amts, method, reverses, source_id, memo, position)) AS b
    JOIN public.loans AS l USING (loan_id)
    LEFT JOIN public.loan_schedules AS r ON r.loan_id = b.loan_id AND r.version = b.reverses
    ORDER BY b.loan_id, b.nth;
    RETURN QUERY SELECT * FROM public.end_agreements(loan_ids);
END
$$;
COMMENT ON FUNCTION public.append_schedules IS
    'Append a batch of schedules, all or none, and give each loan''s new version. The only way into loan_schedules. '
    'Each of due_dates and amts is an array as text. A reversal has the members of what it reverses; its own are '
    'ignored. posted_by null: the user of the database.';

CREATE FUNCTION public.append_terms_once(
    request_id bytea, request_digest bytea, expected_version bigint, loan bigint, effective_date date, rate numeric,
    day_count text, allocation text[], grace_days int, reversed_version bigint, source_id text, memo text,
    posted_by text
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept public.posted_requests;
BEGIN
    kept := public.claim_posting(request_id, request_digest, loan, expected_version);
    IF kept.reply IS NOT NULL THEN
        RETURN QUERY SELECT true, kept.reply, kept.made_at;
        RETURN;
    END IF;
    PERFORM public.refuse_taken('public.loan_terms', loan, append_terms_once.source_id, reversed_version);
    PERFORM public.append_terms(
        ARRAY[loan], ARRAY[append_terms_once.effective_date], ARRAY[append_terms_once.rate],
        ARRAY[append_terms_once.day_count], ARRAY[append_terms_once.allocation::text],
        ARRAY[append_terms_once.grace_days], ARRAY[reversed_version], ARRAY[append_terms_once.source_id],
        ARRAY[append_terms_once.memo], append_terms_once.posted_by);
    SELECT json_build_object(
               'loan_id', t.loan_id, 'version', t.version, 'recorded_at', public.to_rfc3339(t.recorded_at),
               'posted_by', t.posted_by, 'effective_date', t.effective_date, 'rate', t.rate::text,
               'day_count', t.day_count, 'allocation', t.allocation, 'grace_days', t.grace_days,
               'reverses', t.reverses, 'source_id', t.source_id, 'memo', t.memo),
           t.recorded_at
    INTO reply, made_at
    FROM public.loans AS l JOIN public.loan_terms AS t ON t.loan_id = l.loan_id AND t.version = l.version
    WHERE l.loan_id = loan;
    repeated := false;
    UPDATE public.posted_requests AS r SET reply = append_terms_once.reply, made_at = append_terms_once.made_at
    WHERE r.id = request_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.append_terms_once IS
    'Append terms to one loan and give the reply, or the one that was given to the same request before. '
    'expected_version null: any.';

CREATE FUNCTION public.append_schedule_once(
    request_id bytea, request_digest bytea, expected_version bigint, loan bigint, effective_date date, due_dates date[],
    amts numeric[], method jsonb, reversed_version bigint, source_id text, memo text, posted_by text
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept public.posted_requests;
BEGIN
    kept := public.claim_posting(request_id, request_digest, loan, expected_version);
    IF kept.reply IS NOT NULL THEN
        RETURN QUERY SELECT true, kept.reply, kept.made_at;
        RETURN;
    END IF;
    PERFORM public.refuse_taken('public.loan_schedules', loan, append_schedule_once.source_id, reversed_version);
    PERFORM public.append_schedules(
        ARRAY[loan], ARRAY[append_schedule_once.effective_date], ARRAY[append_schedule_once.due_dates::text],
        ARRAY[append_schedule_once.amts::text], ARRAY[append_schedule_once.method], ARRAY[reversed_version],
        ARRAY[append_schedule_once.source_id], ARRAY[append_schedule_once.memo], append_schedule_once.posted_by);
    SELECT json_build_object(
               'loan_id', s.loan_id, 'currency', l.currency, 'version', s.version,
               'recorded_at', public.to_rfc3339(s.recorded_at), 'posted_by', s.posted_by,
               'effective_date', s.effective_date,
               'installments', (SELECT json_agg(json_build_object('due_date', i.due_date, 'amt', i.amt::text)
                                                ORDER BY i.nth)
                                FROM unnest(s.due_dates, s.amts) WITH ORDINALITY AS i (due_date, amt, nth)),
               'method', s.method, 'reverses', s.reverses, 'source_id', s.source_id, 'memo', s.memo),
           s.recorded_at
    INTO reply, made_at
    FROM public.loans AS l JOIN public.loan_schedules AS s ON s.loan_id = l.loan_id AND s.version = l.version
    WHERE l.loan_id = loan;
    repeated := false;
    UPDATE public.posted_requests AS r SET reply = append_schedule_once.reply, made_at = append_schedule_once.made_at
    WHERE r.id = request_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.append_schedule_once IS
    'Append a schedule to one loan and give the reply, or the one that was given to the same request before. '
    'expected_version null: any.';

CREATE FUNCTION public.kept_reply(request_id bytea, request_digest bytea)
RETURNS TABLE (same_request boolean, reply json, made_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.digest = request_digest, CASE WHEN r.digest = request_digest THEN r.reply END, r.made_at
    FROM public.posted_requests AS r WHERE r.id = request_id
$$;
COMMENT ON FUNCTION public.kept_reply IS
    'The reply that was given to a request before. For a request whose record is computed before it is posted.';

REVOKE ALL ON FUNCTION public.append_events_at, public.applying_terms, public.applying_schedules, public.terms_of,
    public.schedules_of, public.kept_reply, public.is_ascending, public.advance_versions, public.claim_posting, public.begin_agreements,
    public.end_agreements, public.refuse_taken, public.append_terms, public.append_schedules,
    public.append_terms_once, public.append_schedule_once FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.append_events_at, public.append_terms, public.append_schedules, public.append_terms_once,
    public.append_schedule_once, public.kept_reply TO loaner_poster;
