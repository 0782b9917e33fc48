-- Posting over HTTP. The reply is stored in the transaction that posts; a repeated request gets the stored reply.

CREATE TABLE public.posted_requests (
    id      bytea PRIMARY KEY,
    digest  bytea NOT NULL,
    reply   json,
    made_at timestamptz NOT NULL
);
CREATE INDEX posted_requests_made_at ON public.posted_requests (made_at);
COMMENT ON TABLE public.posted_requests IS 'what was replied to requests with an Idempotency-Key, for a day at least';
COMMENT ON COLUMN public.posted_requests.id IS 'a digest of the caller and their key';
COMMENT ON COLUMN public.posted_requests.digest IS 'a digest of the request: a key is valid for one request only';

-- Returns the stored reply to a request. Without one, returns nulls and claims the request until the transaction ends.
CREATE FUNCTION public.claim_request(request_id bytea, request_digest bytea) RETURNS public.posted_requests
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept    public.posted_requests;
    keep_s  CONSTANT interval := '1 day';
    at_once CONSTANT int := 10;  -- more than one insert, so the table shrinks after a burst
BEGIN
    LOOP
        -- waits for a transaction that is posting the same request
        INSERT INTO public.posted_requests (id, digest, made_at)
        VALUES (request_id, request_digest, clock_timestamp()) ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
        SELECT * INTO kept FROM public.posted_requests AS r WHERE r.id = request_id;
        CONTINUE WHEN NOT FOUND;  -- it has just expired
        IF kept.digest <> request_digest THEN
            RAISE EXCEPTION 'another request had this key' USING ERRCODE = 'unique_violation', COLUMN = 'key';
        END IF;
        RETURN kept;
    END LOOP;
    -- Expired rows are deleted last, when this transaction no longer waits for another key. Otherwise two transactions
    -- could each wait for a row that the other deletes.
    DELETE FROM public.posted_requests WHERE id IN (
        SELECT r.id FROM public.posted_requests AS r WHERE r.made_at < clock_timestamp() - keep_s
        ORDER BY r.made_at LIMIT at_once FOR UPDATE SKIP LOCKED);
    RETURN NULL;
END
$$;

CREATE FUNCTION public.balance_on(loan bigint, day date) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN day < l.start_date THEN 0 ELSE l.initial_amt + coalesce((
        SELECT sum(CASE WHEN (e.event_type = 'payment') = (e.reverses IS NULL) THEN - e.amt ELSE e.amt END)
        FROM public.loan_events AS e WHERE e.loan_id = l.loan_id AND e.post_date <= day), 0) END
    FROM public.loans AS l WHERE l.loan_id = loan
$$;

CREATE FUNCTION public.post_events_once(
    request_id bytea, request_digest bytea, today date, loan bigint,
    event_types text[], post_dates date[], amts numeric[], source_ids text[], reversed_ids bigint[]
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept  public.posted_requests;
    taken json;
BEGIN
    IF request_id IS NOT NULL THEN
        kept := public.claim_request(request_id, request_digest);
        IF kept.reply IS NOT NULL THEN
            RETURN QUERY SELECT true, kept.reply, kept.made_at;
            RETURN;
        END IF;
    END IF;

    -- Takes the lock of post_events early, so the conflicts found here are final, and the error can name the events.
    PERFORM FROM public.loans AS l WHERE l.loan_id = loan FOR NO KEY UPDATE;
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

    PERFORM public.post_events(array_fill(loan, ARRAY[cardinality(amts)]), event_types, post_dates, amts,
                               source_ids, reversed_ids);

    SELECT json_build_object(
               'loan_id', l.loan_id, 'date', today,
               'balance', public.balance_on(loan, today)::numeric(20, 2)::text,
               'currency', l.currency, 'version', l.version, 'events', json_agg(json_build_object('tx_id', e.tx_id, 'version', e.version) ORDER BY e.version)),
           max(e.recorded_at)
    INTO reply, made_at
    FROM public.loans AS l
    JOIN public.loan_events AS e ON e.loan_id = l.loan_id AND e.version > l.version - cardinality(amts)
    WHERE l.loan_id = loan
    GROUP BY l.loan_id;
    repeated := false;
    UPDATE public.posted_requests AS r SET reply = post_events_once.reply, made_at = post_events_once.made_at
    WHERE r.id = request_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.post_events_once IS
    'Post events of one loan and return the reply, or the stored reply to a repeated request.';

CREATE FUNCTION public.create_loan_once(
    request_id bytea, request_digest bytea, today date, loan bigint,
    start_date date, initial_amt numeric, currency text
)
RETURNS TABLE (repeated boolean, reply json, made_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept public.posted_requests;
BEGIN
    IF request_id IS NOT NULL THEN
        kept := public.claim_request(request_id, request_digest);
        IF kept.reply IS NOT NULL THEN
            RETURN QUERY SELECT true, kept.reply, kept.made_at;
            RETURN;
        END IF;
    END IF;
    PERFORM public.create_loans(ARRAY[loan], ARRAY[start_date], ARRAY[initial_amt], ARRAY[currency]);
    repeated := false;
    made_at := clock_timestamp();
    SELECT json_build_object(
        'start_date', l.start_date, 'initial_amt', l.initial_amt::text, 'loan_id', l.loan_id, 'date', today,
        'balance', public.balance_on(loan, today)::numeric(20, 2)::text, 'currency', l.currency, 'version', l.version)
    INTO reply FROM public.loans AS l WHERE l.loan_id = loan;
    UPDATE public.posted_requests AS r SET reply = create_loan_once.reply, made_at = create_loan_once.made_at
    WHERE r.id = request_id;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.create_loan_once IS
    'Create a loan and return the reply, or the stored reply to a repeated request.';

REVOKE ALL ON FUNCTION public.claim_request, public.balance_on, public.post_events_once, public.create_loan_once
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.post_events_once, public.create_loan_once TO loaner_poster;
