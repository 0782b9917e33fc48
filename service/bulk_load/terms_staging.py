"""Temporary tables with the terms of LOANS and of a file of terms, and the queries that check and post them.

Queries of bad rows return whether the row is one of LOANS, its line, field and reason. The terms of LOANS come before
those of the file.
"""

from service.bulk_load.staging import CLOSED
from service.bulk_load.terms_fields import DEFAULT_ALLOCATION

CREATE_TABLE = f"""
    CREATE TEMP TABLE staged_terms
        (of_loans boolean NOT NULL DEFAULT false, line bigint, loan_id bigint, effective_date date, rate numeric,
         day_count text, allocation text, grace_days int, source_id text,
         pays text[] GENERATED ALWAYS AS (string_to_array(coalesce(allocation, '{DEFAULT_ALLOCATION}'), '>')) STORED,
         grace int GENERATED ALWAYS AS (coalesce(grace_days, 0)) STORED) ON COMMIT DROP
"""

INCOMPLETE = """
    SELECT true, s.line, reason.field, reason.text
    FROM staged_loans AS s
    CROSS JOIN LATERAL (VALUES
        ('rate', CASE WHEN s.rate IS NULL AND coalesce(s.day_count, s.allocation, s.grace_days::text) IS NOT NULL
            THEN 'expected a rate, since the row has other terms' END),
        ('day_count', CASE WHEN s.rate IS NOT NULL AND s.day_count IS NULL
            THEN 'expected a day count, since the row has a rate' END)
    ) AS reason (field, text)
    WHERE reason.text IS NOT NULL
"""
COPY_OF_LOANS = """
    INSERT INTO staged_terms (of_loans, line, loan_id, effective_date, rate, day_count, allocation, grace_days)
    SELECT true, line, loan_id, start_date, rate, day_count, allocation, grace_days
    FROM staged_loans WHERE rate IS NOT NULL
"""


def _differences(known: str) -> str:
    """Return an expression that describes how terms differ from those of a row `s`."""
    return f"""
        concat_ws(', ',
            CASE WHEN {known}.effective_date <> s.effective_date
                 THEN format('effective_date %s, not %s', {known}.effective_date, s.effective_date) END,
            CASE WHEN {known}.rate <> s.rate THEN format('rate %s, not %s', {known}.rate, s.rate) END,
            CASE WHEN {known}.day_count <> s.day_count
                 THEN format('day_count %s, not %s', {known}.day_count, s.day_count) END,
            CASE WHEN {known}.pays <> s.pays
                 THEN format('allocation %s, not %s', array_to_string({known}.pays, '>'),
                             array_to_string(s.pays, '>')) END,
            CASE WHEN {known}.grace <> s.grace
                 THEN format('grace_days %s, not %s', {known}.grace, s.grace) END)
    """


# Terms with a source_id match those that have it in the ledger or on an earlier line. Terms without one match those
# with the same content, reversed ones too, so that an unchanged file does nothing.
MATCH = f"""
    CREATE TEMP TABLE matched_terms ON COMMIT DROP AS
    SELECT s.of_loans, s.line, s.loan_id, s.source_id,
           CASE WHEN t.version IS NULL THEN ' on line ' || s.first_line END AS place,
           concat_ws(', ', CASE WHEN t.reverses IS NOT NULL THEN 'it reverses version ' || t.reverses END,
                     {_differences("known")}) AS differences
    FROM (SELECT *, first_value(line) OVER earlier AS first_line, first_value(effective_date) OVER earlier AS first_day,
                 first_value(rate) OVER earlier AS first_rate, first_value(day_count) OVER earlier AS first_day_count,
                 first_value(pays) OVER earlier AS first_pays, first_value(grace) OVER earlier AS first_grace
          FROM staged_terms WHERE source_id IS NOT NULL
          WINDOW earlier AS (PARTITION BY loan_id, source_id ORDER BY line)) AS s
    LEFT JOIN loan_terms AS t ON t.loan_id = s.loan_id AND t.source_id = s.source_id
    CROSS JOIN LATERAL (SELECT
        coalesce(t.effective_date, s.first_day) AS effective_date, coalesce(t.rate, s.first_rate) AS rate,
        coalesce(t.day_count, s.first_day_count) AS day_count, coalesce(t.allocation, s.first_pays) AS pays,
        coalesce(t.grace_days, s.first_grace) AS grace) AS known
    WHERE t.version IS NOT NULL OR s.first_line < s.line
    UNION ALL
    SELECT s.of_loans, s.line, s.loan_id, NULL, NULL, ''
    FROM (SELECT *, row_number() OVER (PARTITION BY loan_id, effective_date, rate, day_count, pays, grace
                                       ORDER BY of_loans DESC, line) AS nth FROM staged_terms) AS s
    WHERE s.source_id IS NULL AND (s.nth > 1 OR EXISTS (
        SELECT FROM loan_terms AS t WHERE t.loan_id = s.loan_id AND t.reverses IS NULL
        AND (t.effective_date, t.rate, t.day_count, t.allocation, t.grace_days)
          = (s.effective_date, s.rate, s.day_count, s.pays, s.grace)))
"""  # noqa: S608  (constants of this module)
DIFFERENT = """
    SELECT of_loans, line, 'source_id', format('loan %s already has terms ''%s''%s that differ: %s', loan_id, source_id,
                                               place, differences)
    FROM matched_terms WHERE differences <> ''
"""
# Which of two rows without ids counts would depend on their order in the files only.
CONTRADICTING = """
    SELECT s.of_loans, s.line, 'effective_date',
           format('loan %s has other terms from %s on line %s%s; terms that replace these need a source_id',
                  s.loan_id, s.effective_date, s.first_line, CASE WHEN s.first_of_loans THEN ' of LOANS' END)
    FROM (SELECT *, first_value(line) OVER same_day AS first_line,
                 first_value(of_loans) OVER same_day AS first_of_loans
          FROM staged_terms WINDOW same_day AS (PARTITION BY loan_id, effective_date ORDER BY of_loans DESC, line)) AS s
    WHERE s.source_id IS NULL AND NOT s.of_loans AND (s.first_of_loans OR s.first_line < s.line)
      AND NOT EXISTS (SELECT FROM matched_terms AS m WHERE (m.of_loans, m.line) = (s.of_loans, s.line))
"""
COUNT_SKIPPED = "SELECT count(*) FROM matched_terms WHERE differences = ''"
DELETE_MATCHED = (
    "DELETE FROM staged_terms AS s USING matched_terms AS m WHERE (m.of_loans, m.line) = (s.of_loans, s.line)"
)

# LOANS states the first terms of a loan, and does not correct those that apply.
DIFFERENT_LOANS = f"""
    SELECT true, s.line, 'loan_id', format('loan %s already exists with different terms: %s', s.loan_id,
                                           {_differences("known")})
    FROM staged_terms AS s
    CROSS JOIN LATERAL (
        SELECT t.effective_date, t.rate, t.day_count, t.allocation AS pays, t.grace_days AS grace
        FROM loan_terms AS t
        WHERE (t.loan_id, t.effective_date) = (s.loan_id, s.effective_date) AND t.reverses IS NULL
          AND NOT EXISTS (SELECT FROM loan_terms AS r WHERE (r.loan_id, r.reverses) = (t.loan_id, t.version))
        ORDER BY t.version DESC LIMIT 1) AS known
    WHERE s.of_loans
"""  # noqa: S608  (constants of this module)
# The start of a new loan in a closed period is already an error.
BAD = f"""
    SELECT s.of_loans, s.line, reason.field, reason.text
    FROM staged_terms AS s
    LEFT JOIN loans AS l USING (loan_id)
    LEFT JOIN staged_loans AS n USING (loan_id)
    CROSS JOIN LATERAL (VALUES
        ('loan_id', CASE WHEN l.loan_id IS NULL AND n.loan_id IS NULL AND s.loan_id <> ALL (%(bad_loans)s::bigint[])
            THEN 'unknown loan ' || s.loan_id END),
        (CASE WHEN s.of_loans THEN 'start_date' ELSE 'effective_date' END,
         CASE WHEN s.effective_date <= %(closed_until)s THEN {CLOSED} END)
    ) AS reason (field, text)
    WHERE reason.text IS NOT NULL
"""  # noqa: S608  (constants of this module)

POST = """
    SELECT max(batch.terms) FROM (
        SELECT count(*) AS terms, array_agg(loan_id) AS loan_ids, array_agg(effective_date) AS effective_dates,
               array_agg(rate) AS rates, array_agg(day_count) AS day_counts, array_agg(pays::text) AS allocations,
               array_agg(grace) AS grace_days, array_agg(source_id) AS source_ids
        FROM (SELECT * FROM staged_terms WHERE loan_id > %s AND loan_id <= %s
              ORDER BY loan_id, of_loans DESC, line) AS ordered
        HAVING count(*) > 0
    ) AS batch, append_terms(batch.loan_ids, batch.effective_dates, batch.rates, batch.day_counts, batch.allocations,
                             batch.grace_days, NULL, batch.source_ids, NULL, %s)
"""
