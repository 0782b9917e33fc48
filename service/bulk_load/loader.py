"""Load loans and events from CSV files: everything that is in them, or nothing.

Rows are streamed with COPY into tables of the session's own, checked against the ledger there, and posted set-wise
through the ledger's own functions. Nothing is written to the ledger before every row is known to be good.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from service.bulk_load.csv_rows import EVENTS, LOANS, BadRow, Format, Rows
from service.errors import LoanerError

# Posted so many at a time, all in one transaction: a batch is held in arrays, in the server's memory.
BATCH_EVENTS = 1_000_000
_ONE_LOAD_AT_A_TIME = 0x6C6F6164
_STAGE = """
    CREATE TEMP TABLE staged_loans
        (line bigint, loan_id bigint, start_date date, initial_amt numeric) ON COMMIT DROP;
    CREATE TEMP TABLE staged_events
        (line bigint, loan_id bigint, event_type text, post_date date, amt numeric) ON COMMIT DROP;
"""
# A loan that is there already with the same terms is no mistake, and is left as it is.
_BAD_LOANS = """
    SELECT s.line, 'loan_id', CASE
        WHEN s.first_line < s.line THEN 'loan ' || s.loan_id || ' is in this file already, in line ' || s.first_line
        ELSE 'loan ' || s.loan_id || ' exists with other terms' END
    FROM (SELECT *, min(line) OVER (PARTITION BY loan_id) AS first_line FROM staged_loans) AS s
    LEFT JOIN loans AS l USING (loan_id)
    WHERE s.first_line < s.line OR (l.start_date, l.initial_amt) <> (s.start_date, s.initial_amt)
"""
_BAD_EVENTS = """
    SELECT s.line, 'loan_id', 'there is no loan ' || s.loan_id
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


class LoadRefused(LoanerError):
    """Nothing was loaded. bad_rows: every row that is wrong, when rows are the reason."""

    def __init__(self, message: str, bad_rows: list[BadRow] | None = None) -> None:
        super().__init__(message)
        self.bad_rows = bad_rows or []


@dataclass(frozen=True)
class Loaded:
    """What was loaded. known_loans: loans of the file that were there already, with the same terms."""

    loans: int
    events: int
    known_loans: int


class _Stream:
    """Rows as the file that COPY reads from."""

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
) -> Loaded:
    """Load two files in one transaction. connection: of a user that may post.

    again: load a file even if it was loaded before. on_progress: told ("read", further bytes) of the files, then
    ("post", events so far).

    Raises: LoadRefused; then, and on any other error, nothing was written.
    """
    for path in (loans, events):
        try:
            path.open("rb").close()
        except OSError as err:
            raise LoadRefused(f"{path}: {err.strerror}") from err
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_LOAD_AT_A_TIME,))
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
        # The events of a loan whose own row is bad are no strangers: that row is to be mended, not they.
        bad = sorted(loan_rows.bad + _found(cursor, loans, _BAD_LOANS), key=_line)
        bad += sorted(event_rows.bad + _found(cursor, events, _BAD_EVENTS, list(loan_rows.bad_ids)), key=_line)
        if bad:
            rows = len({(row.file, row.line) for row in bad})
            raise LoadRefused(f"{len(bad)} mistake(s) in {rows} row(s); nothing was loaded", bad)
        cursor.execute(_CREATE_LOANS)
        created, _ = cursor.fetchone() or (0, None)
        _post(cursor, event_rows.good, on_progress)
        for read in files:
            cursor.execute(
                "INSERT INTO loaded_files (digest, file, rows) VALUES (%s, %s, %s)",
                (digests[read.path], read.path.name, read.good),
            )
    return Loaded(created, event_rows.good, loan_rows.good - created)


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
            raise LoadRefused(f"{path} was loaded on {loaded_at:%Y-%m-%d %H:%M} already; to load it again, add --again")


def _line(row: BadRow) -> int:
    return row.line


def _found(cursor: Any, path: Path, query: str, *parameters: object) -> list[BadRow]:
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
