"""Ledgers that are too large to be posted event by event."""

from psycopg2.extensions import connection as Connection

FIRST_DAY, LAST_DAY = "2020-01-01", "2020-12-31"  # of the events

# The terms are those of the ledger's functions: a loan's version is the number of its records, and its turnover the sum
# of their amounts. Each event of a loan has an amount of 1 to 100 units.
_LOANS = """
    INSERT INTO loans (loan_id, start_date, initial_amt, currency, version, turnover, recorded_at, exponent)
    SELECT loan, '2019-12-01'::date + (loan %% 31)::int, 1000 + loan %% 50000, 'USD', %(events)s,
           (SELECT coalesce(sum(1 + (loan + number) %% 100), 0) FROM generate_series(1, %(events)s) AS number), now(), 2
    FROM generate_series(%(first)s::bigint, %(last)s) AS loan
"""
_EVENTS = """
    INSERT INTO loan_events (loan_id, event_type, post_date, amt, version, recorded_at)
    SELECT loan, ('{interest,payment,fee,payment}'::text[])[1 + (loan + number) %% 4],
           '2020-01-01'::date + (number * 366 / (%(events)s + 1))::int, 1 + (loan + number) %% 100, number, now()
    FROM generate_series(%(first)s::bigint, %(last)s) AS loan, generate_series(1, %(events)s) AS number
"""


def fill(connection: Connection, first: int, last: int, events: int) -> None:
    """Insert loans with consecutive ids and the same number of events each, in one transaction.

    Args:
        connection: A superuser's connection. It skips the check of foreign keys, which takes most of the time.
        first: The id of the first loan.
        last: The id of the last loan.
        events: The number of events of each loan, dated from FIRST_DAY to LAST_DAY.
    """
    values = {"first": first, "last": last, "events": events}
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(_LOANS, values)
        if events:
            cursor.execute(_EVENTS, values)
