"""Temporary tables with the installments of a file of schedules, and the queries that check and post its schedules.

Queries of bad rows return line, field and reason. A schedule has the line of its first row.
"""

from service.bulk_load.staging import AMOUNT_REASON, CLOSED, LIMITS
from service.domain.schedule import MAX_INSTALLMENTS

CREATE_TABLE = """
    CREATE TEMP TABLE staged_installments
        (line bigint, loan_id bigint, effective_date date, due_date date, amt numeric, source_id text) ON COMMIT DROP
"""
# The rows of a loan and effective date make one schedule.
GATHER = """
    CREATE TEMP TABLE staged_schedules ON COMMIT DROP AS
    SELECT loan_id, effective_date, min(line) AS line, array_agg(due_date ORDER BY due_date, line) AS due_dates,
           array_agg(amt ORDER BY due_date, line) AS amts, (array_agg(source_id ORDER BY line))[1] AS source_id
    FROM staged_installments GROUP BY loan_id, effective_date;
    ANALYZE staged_schedules;
"""

# As terms are matched: by source_id, or else by content.
MATCH = """
    CREATE TEMP TABLE matched_schedules ON COMMIT DROP AS
    SELECT s.line, s.loan_id, s.source_id, CASE WHEN k.version IS NULL THEN ' on line ' || s.first_line END AS place,
           concat_ws(', ',
               CASE WHEN k.reverses IS NOT NULL THEN 'it reverses version ' || k.reverses END,
               CASE WHEN coalesce(k.effective_date, s.first_day) <> s.effective_date THEN
                   format('effective_date %s, not %s', coalesce(k.effective_date, s.first_day), s.effective_date) END,
               (SELECT format('installment %s is %s, not %s', i.nth,
                              coalesce(i.known_date || ' ' || i.known_amt, 'none'),
                              coalesce(i.due_date || ' ' || i.amt, 'none'))
                FROM unnest(k.due_dates, k.amts, s.due_dates, s.amts) WITH ORDINALITY
                    AS i (known_date, known_amt, due_date, amt, nth)
                WHERE k.version IS NOT NULL AND (i.known_date, i.known_amt) IS DISTINCT FROM (i.due_date, i.amt)
                ORDER BY i.nth LIMIT 1)) AS differences
    FROM (SELECT *, first_value(line) OVER earlier AS first_line, first_value(effective_date) OVER earlier AS first_day
          FROM staged_schedules WHERE source_id IS NOT NULL
          WINDOW earlier AS (PARTITION BY loan_id, source_id ORDER BY line)) AS s
    LEFT JOIN loan_schedules AS k ON k.loan_id = s.loan_id AND k.source_id = s.source_id
    WHERE k.version IS NOT NULL OR s.first_line < s.line
    UNION ALL
    SELECT s.line, s.loan_id, NULL, NULL, '' FROM staged_schedules AS s
    WHERE s.source_id IS NULL AND EXISTS (
        SELECT FROM loan_schedules AS k
        WHERE k.loan_id = s.loan_id AND k.reverses IS NULL
          AND (k.effective_date, k.due_dates, k.amts) = (s.effective_date, s.due_dates, s.amts))
"""
# Of a loan with an invalid row a schedule may be incomplete.
DIFFERENT = """
    SELECT line, 'source_id', format('loan %%s already has schedule ''%%s''%%s, which differs: %%s', loan_id, source_id,
                                     place, differences)
    FROM matched_schedules WHERE differences <> '' AND loan_id <> ALL (%(incomplete)s::bigint[])
"""
COUNT_SKIPPED = "SELECT count(*) FROM matched_schedules WHERE differences = ''"
DELETE_MATCHED = """
    DELETE FROM staged_installments AS i USING staged_schedules AS s JOIN matched_schedules AS m USING (line)
    WHERE (i.loan_id, i.effective_date) = (s.loan_id, s.effective_date);
    DELETE FROM staged_schedules AS s USING matched_schedules AS m WHERE s.line = m.line;
"""
MIXED_IDS = """
    SELECT i.line, 'source_id', format('expected the source_id of line %s, which belongs to the same schedule: %s',
                                       s.line, coalesce(quote_literal(s.source_id), 'none'))
    FROM staged_schedules AS s JOIN staged_installments AS i USING (loan_id, effective_date)
    WHERE i.source_id IS DISTINCT FROM s.source_id
"""
BAD = f"""
    WITH {LIMITS}
    SELECT s.line, reason.field, reason.text
    FROM staged_schedules AS s
    LEFT JOIN loans AS l USING (loan_id)
    LEFT JOIN staged_loans AS n USING (loan_id)
    LEFT JOIN currencies AS c ON c.code = n.currency
    LEFT JOIN limits AS x ON x.digits = coalesce(l.exponent, c.exponent)
    CROSS JOIN LATERAL (VALUES
        ('loan_id', CASE WHEN l.loan_id IS NULL AND n.loan_id IS NULL AND s.loan_id <> ALL (%(bad_loans)s::bigint[])
            THEN 'unknown loan ' || s.loan_id END),
        ('effective_date', CASE WHEN s.effective_date <= %(closed_until)s THEN {CLOSED} END),
        ('due_date', CASE WHEN cardinality(s.due_dates) > {MAX_INSTALLMENTS} THEN
            format('expected at most {MAX_INSTALLMENTS} installments of one schedule, found %%s',
                   cardinality(s.due_dates)) END),
        ('amt', CASE WHEN (SELECT sum(amt) FROM unnest(s.amts) AS amt) > x.capacity THEN
            format('the sum of this schedule of loan %%s would exceed what the ledger can store', s.loan_id) END)
    ) AS reason (field, text)
    WHERE reason.text IS NOT NULL
    UNION ALL
    SELECT i.line, 'amt', reason.text
    FROM staged_installments AS i
    LEFT JOIN loans AS l USING (loan_id)
    LEFT JOIN staged_loans AS n USING (loan_id)
    JOIN currencies AS c ON c.code = coalesce(l.currency, n.currency)
    JOIN limits AS x ON x.digits = coalesce(l.exponent, c.exponent)
    CROSS JOIN LATERAL (SELECT
        {AMOUNT_REASON.format(amt="i.amt", digits="x.digits", currency="c.code", excess="x.excess")}) AS reason (text)
    WHERE scale(i.amt) > x.digits OR i.amt >= x.excess
"""  # noqa: S608  (constants of this module)

POST = """
    SELECT max(batch.schedules) FROM (
        SELECT count(*) AS schedules, array_agg(loan_id) AS loan_ids, array_agg(effective_date) AS effective_dates,
               array_agg(due_dates::text) AS due_dates, array_agg(amts::text) AS amts,
               array_agg(source_id) AS source_ids
        FROM (SELECT * FROM staged_schedules WHERE loan_id > %s AND loan_id <= %s ORDER BY loan_id, line) AS ordered
        HAVING count(*) > 0
    ) AS batch, append_schedules(batch.loan_ids, batch.effective_dates, batch.due_dates, batch.amts, NULL, NULL,
                                 batch.source_ids, NULL, %s)
"""
