"""Temporary tables with the rows of the files, and the queries that check these rows against the ledger.

Each query of bad rows returns line, field and reason.
"""

CREATE_TABLES = """
    CREATE TEMP TABLE staged_loans
        (line bigint, loan_id bigint, start_date date, initial_amt numeric, currency text DEFAULT 'USD', rate numeric,
         day_count text, allocation text, grace_days int) ON COMMIT DROP;
    CREATE TEMP TABLE staged_events
        (line bigint, loan_id bigint, event_type text, post_date date, amt numeric, source_id text,
         reverses_source_id text, memo text, follows boolean NOT NULL DEFAULT false) ON COMMIT DROP;
"""

# `excess`: the first amount that is too large. `capacity`: the largest sum of a loan's amounts.
LIMITS = """
    limits AS MATERIALIZED (
        SELECT n AS digits, 10::numeric ^ (18 - n) AS excess, 9223372036854775807 / 10::numeric ^ n AS capacity
        FROM generate_series(0, 4) AS n)
"""
AMOUNT_REASON = """
    CASE WHEN scale({amt}) > {digits}
             THEN format('expected at most %%s decimals (%%s), found ''%%s''', {digits}, {currency}, {amt})
         WHEN {amt} >= {excess}
             THEN format('expected an amount below %%s (%%s), found ''%%s''', trunc({excess}), {currency}, {amt}) END
"""
CLOSED = "'expected a date after ' || %(closed_until)s || ', until which the ledger is closed'"

# A loan that already exists with the same terms is not an error, and stays unchanged. The rules for new loans do not
# apply to it.
BAD_LOANS = f"""
    WITH {LIMITS}
    SELECT s.line, reason.field, reason.text
    FROM (SELECT *, min(line) OVER (PARTITION BY loan_id) AS first_line FROM staged_loans) AS s
    LEFT JOIN loans AS l USING (loan_id)
    LEFT JOIN currencies AS c ON c.code = s.currency
    LEFT JOIN limits AS x ON x.digits = c.exponent
    CROSS JOIN LATERAL (VALUES
        ('loan_id', CASE
            WHEN s.first_line < s.line
                THEN format('loan %%s is already in this file, on line %%s', s.loan_id, s.first_line)
            WHEN l.loan_id IS NOT NULL
                THEN format('loan %%s already exists with different terms: %%s', s.loan_id, concat_ws(', ',
                    CASE WHEN l.start_date <> s.start_date
                         THEN format('start_date %%s, not %%s', l.start_date, s.start_date) END,
                    CASE WHEN l.initial_amt <> s.initial_amt
                         THEN format('initial_amt %%s, not %%s', round(l.initial_amt, l.exponent), s.initial_amt) END,
                    CASE WHEN l.currency <> s.currency
                         THEN format('currency %%s, not %%s', l.currency, s.currency) END)) END),
        ('currency', CASE WHEN l.loan_id IS NULL AND c.code IS NULL THEN
            format('expected an ISO 4217 currency with minor units, such as USD, found ''%%s''', s.currency) END),
        ('initial_amt', CASE WHEN l.loan_id IS NULL THEN
            {AMOUNT_REASON.format(amt="s.initial_amt", digits="x.digits", currency="c.code", excess="x.excess")} END),
        ('start_date', CASE WHEN l.loan_id IS NULL AND s.start_date <= %(closed_until)s THEN {CLOSED} END)
    ) AS reason (field, text)
    WHERE (s.first_line < s.line
           OR (l.start_date, l.initial_amt, l.currency) <> (s.start_date, s.initial_amt, s.currency)
           OR l.loan_id IS NULL AND (c.code IS NULL OR scale(s.initial_amt) > c.exponent OR s.initial_amt >= x.excess
                                     OR s.start_date <= %(closed_until)s))
      AND reason.text IS NOT NULL
"""  # noqa: S608  (constants of this module)

# Events whose source_id the ledger or an earlier row of the file has, and how they differ from that event.
MATCH_EVENTS = """
    CREATE TEMP TABLE matched_events ON COMMIT DROP AS
    SELECT s.line, s.loan_id, s.source_id, CASE WHEN e.tx_id IS NULL THEN 'on line ' || s.first_line END AS place,
           concat_ws(', ',
               CASE WHEN known.event_type <> s.event_type
                    THEN format('event_type %s, not %s', known.event_type, s.event_type) END,
               CASE WHEN known.post_date <> s.post_date
                    THEN format('post_date %s, not %s', known.post_date, s.post_date) END,
               CASE WHEN known.amt <> s.amt THEN format('amt %s, not %s', known.amt, s.amt) END,
               CASE WHEN known.reversed IS DISTINCT FROM s.reverses_source_id
                      OR r.tx_id IS NOT NULL AND r.source_id IS NULL
                    THEN format('reverses_source_id %s, not %s',
                                coalesce(quote_literal(known.reversed), 'tx_id ' || r.tx_id, 'none'),
                                coalesce(quote_literal(s.reverses_source_id), 'none')) END) AS differences
    FROM (SELECT *, first_value(line) OVER earlier AS first_line, first_value(event_type) OVER earlier AS first_type,
                 first_value(post_date) OVER earlier AS first_date, first_value(amt) OVER earlier AS first_amt,
                 first_value(reverses_source_id) OVER earlier AS first_reversed
          FROM staged_events WHERE source_id IS NOT NULL
          WINDOW earlier AS (PARTITION BY loan_id, source_id ORDER BY line)) AS s
    LEFT JOIN loan_events AS e ON e.loan_id = s.loan_id AND e.source_id = s.source_id
    LEFT JOIN loan_events AS r ON r.loan_id = e.loan_id AND r.tx_id = e.reverses
    CROSS JOIN LATERAL (SELECT
        coalesce(e.event_type, s.first_type) AS event_type, coalesce(e.post_date, s.first_date) AS post_date,
        coalesce(e.amt, s.first_amt) AS amt,
        CASE WHEN e.tx_id IS NULL THEN s.first_reversed ELSE r.source_id END AS reversed) AS known
    WHERE e.tx_id IS NOT NULL OR s.first_line < s.line
"""
DIFFERENT_EVENTS = """
    SELECT line, 'source_id', format('loan %s already has event ''%s''%s with different terms: %s', loan_id, source_id,
                                     coalesce(' ' || place, ''), differences)
    FROM matched_events WHERE differences <> ''
"""
# Events that differ are errors already, so no further rule is applied to them.
DELETE_MATCHED = "DELETE FROM staged_events AS s USING matched_events AS m WHERE s.line = m.line"
COUNT_SKIPPED = "SELECT count(*) FROM matched_events WHERE differences = ''"

# The reversed event is in the ledger (e) or in the file (t). A source_id is unique in both after DELETE_MATCHED.
BAD_REVERSALS = """
    SELECT s.line, reason.field, reason.text
    FROM (SELECT *, first_value(line) OVER earlier AS first_line FROM staged_events
          WHERE reverses_source_id IS NOT NULL
          WINDOW earlier AS (PARTITION BY loan_id, reverses_source_id ORDER BY line)) AS s
    LEFT JOIN loan_events AS e ON e.loan_id = s.loan_id AND e.source_id = s.reverses_source_id
    LEFT JOIN staged_events AS t ON t.loan_id = s.loan_id AND t.source_id = s.reverses_source_id
    LEFT JOIN loan_events AS x ON x.loan_id = e.loan_id AND x.reverses = e.tx_id
    CROSS JOIN LATERAL (SELECT
        coalesce(e.event_type, t.event_type) AS event_type, coalesce(e.amt, t.amt) AS amt,
        coalesce(e.post_date, t.post_date) AS post_date,
        e.reverses IS NOT NULL OR t.reverses_source_id IS NOT NULL AS is_reversal) AS reversed
    CROSS JOIN LATERAL (VALUES
        ('reverses_source_id', CASE
            WHEN reversed.amt IS NULL AND NOT EXISTS (
                SELECT FROM unnest(%(bad_loans)s::bigint[], %(bad_sources)s::text[]) AS bad (loan_id, source_id)
                WHERE (bad.loan_id, bad.source_id) = (s.loan_id, s.reverses_source_id))
                THEN format('loan %%s has no event ''%%s'' in the ledger or in this file',
                            s.loan_id, s.reverses_source_id)
            WHEN reversed.is_reversal THEN format('event ''%%s'' is a reversal itself', s.reverses_source_id)
            WHEN (reversed.event_type, reversed.amt) <> (s.event_type, s.amt)
                THEN format('expected the type and amount of event ''%%s'': %%s %%s', s.reverses_source_id,
                            reversed.event_type, reversed.amt)
            WHEN x.tx_id IS NOT NULL
                THEN format('event ''%%s'' is already reversed by tx_id %%s', s.reverses_source_id, x.tx_id)
            WHEN s.first_line < s.line
                THEN format('event ''%%s'' is already reversed on line %%s', s.reverses_source_id, s.first_line) END),
        ('post_date', CASE WHEN s.post_date < reversed.post_date THEN
            'expected the date of the event that it reverses, or a later one: ' || reversed.post_date END)
    ) AS reason (field, text)
    WHERE reason.text IS NOT NULL
"""
# Reversals of events of the same file are posted after these events.
MARK_FOLLOWING = """
    UPDATE staged_events AS s SET follows = true FROM staged_events AS t
    WHERE t.loan_id = s.loan_id AND t.source_id = s.reverses_source_id
"""

# One pass over the events finds the loans of which any event may be bad; the rules for each event apply to these only.
# A loan whose own row is invalid counts as known: correcting that row is enough. A reversal may have its event's date.
BAD_EVENTS = f"""
    WITH {LIMITS},
    summed AS (
        SELECT loan_id, sum(amt) AS amt, max(amt) AS largest, max(scale(amt)) AS digits,
               min(post_date) AS first_date, max(post_date) AS last_date
        FROM staged_events GROUP BY loan_id),
    suspects AS MATERIALIZED (
        SELECT s.loan_id, x.*, coalesce(l.currency, c.code) AS currency,
               coalesce(l.initial_amt + l.turnover, n.initial_amt) AS before,
               l.loan_id IS NOT NULL OR n.loan_id IS NOT NULL OR s.loan_id = ANY (%(bad_loans)s::bigint[]) AS known
        FROM summed AS s
        LEFT JOIN loans AS l USING (loan_id)
        LEFT JOIN staged_loans AS n USING (loan_id)
        LEFT JOIN currencies AS c ON c.code = n.currency
        LEFT JOIN limits AS x ON x.digits = coalesce(l.exponent, c.exponent)
        WHERE x.digits IS NULL OR s.digits > x.digits OR s.largest >= x.excess
           OR s.amt + coalesce(l.initial_amt + l.turnover, n.initial_amt) > x.capacity
           OR s.first_date <= %(closed_until)s OR s.last_date > %(latest_date)s)
    SELECT s.line, reason.field, reason.text
    FROM (SELECT s.*, x.known, x.digits, x.currency, x.excess, x.capacity,
                 x.before + sum(s.amt) OVER (PARTITION BY s.loan_id ORDER BY s.line) AS total
          FROM suspects AS x JOIN staged_events AS s USING (loan_id)) AS s
    CROSS JOIN LATERAL (VALUES
        ('loan_id', CASE WHEN NOT s.known THEN 'unknown loan ' || s.loan_id END),
        ('amt', {AMOUNT_REASON.format(amt="s.amt", digits="s.digits", currency="s.currency", excess="s.excess")}),
        ('amt', CASE WHEN s.total > s.capacity AND s.total - s.amt <= s.capacity THEN
            format('the sum of the amounts of loan %%s would exceed what the ledger can store', s.loan_id) END),
        ('post_date', CASE
            WHEN s.post_date <= %(closed_until)s THEN {CLOSED}
            WHEN s.post_date > %(latest_date)s AND NOT (s.reverses_source_id IS NOT NULL AND (
                     EXISTS (SELECT FROM loan_events AS e
                             WHERE (e.loan_id, e.source_id) = (s.loan_id, s.reverses_source_id)
                               AND e.post_date = s.post_date)
                     OR EXISTS (SELECT FROM staged_events AS t
                                WHERE (t.loan_id, t.source_id) = (s.loan_id, s.reverses_source_id)
                                  AND t.post_date = s.post_date)))
                THEN 'expected a date up to ' || %(latest_date)s || ' (MAX_FUTURE_DAYS)' END)
    ) AS reason (field, text)
    WHERE reason.text IS NOT NULL
"""  # noqa: S608  (constants of this module)
