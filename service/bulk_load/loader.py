"""Loads loans and events from CSV files in one transaction, all or nothing.

Rows are streamed with COPY into temporary tables, checked against the ledger there, and posted in sets through the
ledger's SQL functions. Nothing is written to the ledger before every row has been validated.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from service.bulk_load.csv_rows import EVENTS, LOANS, BadRow, Format, Rows
from service.errors import LoanerError

# Events per call of the posting function. Each call holds them in arrays, in the server's memory.
BATCH_EVENTS = 1_000_000
# An advisory lock: loads run one after the other.
_LOAD_LOCK = 0x6C6F6164
_STAGE = """
    CREATE TEMP TABLE staged_loans
        (line bigint, loan_id bigint, start_date date, initial_amt numeric) ON COMMIT DROP;
    CREATE TEMP TABLE staged_events
        (line bigint, loan_id bigint, event_type text, post_date date, amt numeric) ON COMMIT DROP;
"""
# A loan that already exists with the same terms is not an error, and stays unchanged.
_BAD_LOANS = """
    SELECT s.line, 'loan_id', CASE
        WHEN s.first_line < s.line THEN 'loan ' || s.loan_id || ' is already in this file, on line ' || s.first_line
        ELSE 'loan ' || s.loan_id || ' already exists with different terms' END
    FROM (SELECT *, min(line) OVER (PARTITION BY loan_id) AS first_line FROM staged_loans) AS s
    LEFT JOIN loans AS l USING (loan_id)
    WHERE s.first_line < s.line OR (l.start_date, l.initial_amt) <> (s.start_date, s.initial_amt)
"""
_BAD_EVENTS = """
    SELECT s.line, 'loan_id', 'unknown loan ' || s.loan_id
    FROM staged_events AS s
    WHERE NOT EXISTS (SELECT FROM loans AS l WHERE l.loan_id = s.loan_id)
      AND NOT EXISTS (SELECT FROM staged_loans AS n WHERE n.loan_id = s.loan_id)
      AND NOT s.loan_id = ANY (%s::bigint[])
"""
_CREATE_LOANS = """
    SELECT count, create_loans(loan_ids, start_dates, initial_amts, currencies)
    FROM (SELECT count(*), array_agg(loan_id) AS loan_ids, array_agg(start_date) AS start_dates,
                 array_agg(initial_amt) AS initial_amts, array_agg('USD'::text) AS currencies
          FROM staged_loans AS s
          WHERE NOT EXISTS (SELECT FROM loans AS l WHERE l.loan_id = s.loan_id)) AS batch
    WHERE count > 0
"""
_BATCH_END = """
    SELECT max(loan_id)
    FROM (SELECT loan_id FROM staged_events WHERE loan_id > %s ORDER BY loan_id LIMIT %s) AS batch
"""
_POST_EVENTS = """
    SELECT max(cardinality(batch.loan_ids)) FROM (
        SELECT array_agg(loan_id) AS loan_ids, array_agg(event_type) AS event_types,
               array_agg(post_date) AS post_dates, array_agg(amt) AS amts
        FROM (SELECT * FROM staged_events WHERE loan_id > %s AND loan_id <= %s ORDER BY loan_id, line) AS ordered
    ) AS batch, post_events(batch.loan_ids, batch.event_types, batch.post_dates, batch.amts)
"""


class LoadRejected(LoanerError):
    """Nothing was loaded.

    Attributes:
        bad_rows: The errors in rows; empty if the load failed for another reason.
    """

    def __init__(self, message: str, bad_rows: list[BadRow] | None = None) -> None:
        super().__init__(message)
        self.bad_rows = bad_rows or []


@dataclass(frozen=True)
class LoadResult:
    """What was loaded.

    Attributes:
        loans: Number of loans that were created.
        events: Number of events that were posted.
        existing_loans: Number of loans in the file that already existed with the same terms.
    """

    loans: int
    events: int
    existing_loans: int


class _Stream:
    """Presents rows as a file that COPY can read."""

    def __init__(self, rows: Iterator[bytes]) -> None:
        self._rows = rows
        self._rest = b""

    def read(self, size: int) -> bytes:
        pieces, length = [self._rest], len(self._rest)
        for row in self._rows:
            pieces.append(row)
            length += len(row)
            if length >= size:
                break
        data = b"".join(pieces)
        self._rest = data[size:]
        return data[:size]


def load(
    connection: Connection,
    loans: Path,
    events: Path,
    *,
    again: bool = False,
    on_progress: Callable[[str, int], object] = lambda step, amount: None,
) -> LoadResult:
    """Load two files in one transaction. On any error nothing is written.

    Args:
        connection: Its user must have the rights of `loaner_poster`.
        loans: CSV file of loans.
        events: CSV file of events.
        again: Whether to load files that were loaded before.
        on_progress: Receives ("read", number of bytes since the last call), then ("post", number of events so far).

    Raises:
        LoadRejected: If a file cannot be read, was loaded before, or has invalid rows.
    """
    for path in (loans, events):
        try:
            path.open("rb").close()
        except OSError as err:
            raise LoadRejected(f"{path}: {err.strerror}") from err
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOAD_LOCK,))
        cursor.execute(_STAGE)
        digests = {}
        files = []
        for path, table, columns in ((loans, "staged_loans", LOANS), (events, "staged_events", EVENTS)):
            digest = hashlib.sha256()
            files.append(_copy(cursor, path, table, columns, digest, on_progress))
            digests[path] = digest.digest()
        if not again:
            _reject_loaded(cursor, digests)
        loan_rows, event_rows = files
        cursor.execute("ANALYZE staged_loans; ANALYZE staged_events")
        # Events of a loan whose own row is invalid are not reported: correcting that row is enough.
        bad = sorted(loan_rows.bad + _query_bad_rows(cursor, loans, _BAD_LOANS), key=_line)
        bad += sorted(event_rows.bad + _query_bad_rows(cursor, events, _BAD_EVENTS, list(loan_rows.bad_ids)), key=_line)
        if bad:
            count = len({(row.file, row.line) for row in bad})
            raise LoadRejected(f"{len(bad)} error(s) in {count} row(s); nothing was loaded", bad)
        cursor.execute(_CREATE_LOANS)
        created, _ = cursor.fetchone() or (0, None)
        _post(cursor, event_rows.good, on_progress)
        for rows in files:
            cursor.execute(
                "INSERT INTO loaded_files (digest, file, rows) VALUES (%s, %s, %s)",
                (digests[rows.path], rows.path.name, rows.good),
            )
    return LoadResult(created, event_rows.good, loan_rows.good - created)


def _copy(
    cursor: Any, path: Path, table: str, columns: Format, digest: Any, on_progress: Callable[[str, int], object]
) -> Rows:
    def on_bytes(piece: bytes) -> None:
        digest.update(piece)
        on_progress("read", len(piece))

    rows = Rows(path, columns, on_bytes)
    cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT csv)", _Stream(iter(rows)))
    return rows


def _reject_loaded(cursor: Any, digests: dict[Path, bytes]) -> None:
    for path, digest in digests.items():
        cursor.execute("SELECT max(loaded_at) FROM loaded_files WHERE digest = %s AND rows > 0", (digest,))
        (loaded_at,) = cursor.fetchone()
        if loaded_at is not None:
            raise LoadRejected(
                f"{path} was already loaded on {loaded_at:%Y-%m-%d %H:%M}; to load it again, add --again"
            )


def _line(row: BadRow) -> int:
    return row.line


def _query_bad_rows(cursor: Any, path: Path, query: str, *parameters: object) -> list[BadRow]:
    cursor.execute(query, parameters or None)
    return [BadRow(str(path), line, field, reason) for line, field, reason in cursor]


def _post(cursor: Any, events: int, on_progress: Callable[[str, int], object]) -> None:
    if events > BATCH_EVENTS:
        cursor.execute("CREATE INDEX ON staged_events (loan_id)")
    after = posted = 0
    while True:
        cursor.execute(_BATCH_END, (after, BATCH_EVENTS))
        (until,) = cursor.fetchone()
        if until is None:
            return
        cursor.execute(_POST_EVENTS, (after, until))
        posted += cursor.fetchone()[0]
        on_progress("post", posted)
        after = until
