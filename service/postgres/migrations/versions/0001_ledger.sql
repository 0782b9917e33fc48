-- The ledger: loans and their events. It is append-only and written only through two functions.

-- The groups of the service's users. Roles belong to the whole server, so another database may have created them.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['loaner_reader', 'loaner_poster'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = name);  -- creating one requires CREATEROLE
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END
$$;

CREATE TABLE public.loans (
    loan_id     bigint PRIMARY KEY CHECK (loan_id > 0),
    start_date  date NOT NULL CHECK (start_date BETWEEN '0001-01-01' AND '9999-12-31'),
    -- 'NaN' is greater than every number, so it must be excluded explicitly
    initial_amt numeric(18, 2) NOT NULL CHECK (initial_amt >= 0 AND initial_amt <> 'NaN'),
    currency    text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    version     bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    turnover    numeric NOT NULL DEFAULT 0,
    -- keeps running balances within 64 bits of cents, in any order of events
    CONSTRAINT loans_turnover_fits CHECK (initial_amt + turnover <= 92233720368547758.07)
);
COMMENT ON COLUMN public.loans.version IS 'how many events the loan has';
COMMENT ON COLUMN public.loans.turnover IS 'the sum of the amounts of its events, of all types';

-- Every key begins with loan_id, so both tables can be partitioned by it.
CREATE TABLE public.loan_events (
    tx_id       bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    loan_id     bigint NOT NULL REFERENCES public.loans,
    event_type  text NOT NULL CHECK (event_type IN ('fee', 'interest', 'payment')),
    post_date   date NOT NULL CHECK (post_date BETWEEN '0001-01-01' AND '9999-12-31'),
    amt         numeric(18, 2) NOT NULL CHECK (amt > 0 AND amt <> 'NaN'),
    version     bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    source_id   text CHECK (source_id <> ''),
    reverses    bigint,
    PRIMARY KEY (loan_id, tx_id),
    UNIQUE (loan_id, version)
);
COMMENT ON COLUMN public.loan_events.version IS 'the version of its loan that this event made';
COMMENT ON COLUMN public.loan_events.source_id IS 'the caller''s own id of the event, unique per loan';
COMMENT ON COLUMN public.loan_events.reverses IS 'the event this one takes back: it counts with the opposite sign';
CREATE UNIQUE INDEX loan_events_source ON public.loan_events (loan_id, source_id) WHERE source_id IS NOT NULL;
CREATE UNIQUE INDEX loan_events_reverses ON public.loan_events (loan_id, reverses) WHERE reverses IS NOT NULL;

CREATE TABLE public.loaded_files (
    digest    bytea NOT NULL,
    file      text NOT NULL,
    rows      bigint NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (digest, loaded_at)
);
COMMENT ON TABLE public.loaded_files IS 'the SHA-256 of each CSV file that was loaded';

-- Append-only. Row triggers do not fire on TRUNCATE; statement triggers fire even if no row matches.
CREATE FUNCTION public.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'post a reversing event to correct one';
END
$$;
CREATE TRIGGER loan_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.loan_events
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
CREATE TRIGGER loans_append_only BEFORE DELETE OR TRUNCATE ON public.loans
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();
-- A loan's terms are immutable; its version only grows.
CREATE TRIGGER loans_terms_stand BEFORE UPDATE ON public.loans
    FOR EACH ROW WHEN ((OLD.loan_id, OLD.start_date, OLD.initial_amt, OLD.currency)
                       IS DISTINCT FROM (NEW.loan_id, NEW.start_date, NEW.initial_amt, NEW.currency)
                       OR NEW.version < OLD.version OR NEW.turnover < OLD.turnover)
    EXECUTE FUNCTION public.refuse_change();

CREATE FUNCTION public.create_loans(loan_ids bigint[], start_dates date[], initial_amts numeric[], currencies text[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(initial_amts) AS amt WHERE amt <> round(amt, 2)) THEN
        RAISE EXCEPTION 'an initial_amt has more than two decimals' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO public.loans (loan_id, start_date, initial_amt, currency)
    SELECT * FROM unnest(loan_ids, start_dates, initial_amts, currencies) AS l (loan_id, start_date, amt, currency)
    ORDER BY l.loan_id;
END
$$;
COMMENT ON FUNCTION public.create_loans IS 'Create loans, all or none. The only way into loans.';

CREATE FUNCTION public.post_events(
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
    recorded := clock_timestamp();
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
COMMENT ON FUNCTION public.post_events IS
    'Post a batch of events, all or none, and give each loan''s new version. The only way into loan_events.';

REVOKE ALL ON FUNCTION public.create_loans, public.post_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.create_loans, public.post_events TO loaner_poster;
GRANT SELECT ON public.loans, public.loan_events TO loaner_reader, loaner_poster;
GRANT SELECT, INSERT ON public.loaded_files TO loaner_poster;
GRANT SELECT ON public.alembic_version TO loaner_reader;
