"""Loads loans and events from CSV files in one transaction, all or nothing.

Rows are streamed with COPY into temporary tables, checked against the ledger there, and posted in sets through the
ledger's SQL functions. Nothing is written to the ledger before every row has been validated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from service.bulk_load import staging
from service.bulk_load.csv_rows import EVENTS, LOANS, BadRow, Format, Rows
from service.bulk_load.progress import OnProgress, Progress, ignore_progress
from service.errors import LoanerError
from service.plural import counted

# Events per call of the posting function. Each call holds them in arrays, in the server's memory, and progress is known
# between calls.
BATCH_EVENTS = 100_000
_COPY_BYTES = 65_536
# An advisory lock: loads run one after the other.
_LOAD_LOCK = 0x6C6F6164
_CLOSED_UNTIL = "SELECT closed_until FROM closed_periods ORDER BY id DESC LIMIT 1"
_CREATE_LOANS = """
    SELECT count, create_loans(loan_ids, start_dates, initial_amts, currencies, %s)
    FROM (SELECT count(*), array_agg(loan_id) AS loan_ids, array_agg(start_date) AS start_dates,
                 array_agg(initial_amt) AS initial_amts, array_agg(currency) AS currencies
          FROM staged_loans AS s
          WHERE NOT EXISTS (SELECT FROM loans AS l WHERE l.loan_id = s.loan_id)) AS batch
    WHERE count > 0
"""
_BATCH_END = """
    SELECT max(loan_id)
    FROM (SELECT loan_id FROM staged_events WHERE loan_id > %s ORDER BY loan_id LIMIT %s) AS batch
"""
# Columns that the file does not have are null instead of arrays of nulls.
_POST_EVENTS = """
    SELECT max(batch.events) FROM (
        SELECT count(*) AS events, array_agg(loan_id) AS loan_ids, array_agg(event_type) AS event_types,
               array_agg(post_date) AS post_dates, array_agg(amt) AS amts, {source_ids} AS source_ids,
               {reversed_ids} AS reversed_ids, {memos} AS memos
        FROM ({rows} WHERE s.loan_id > %s AND s.loan_id <= %s AND s.follows = %s ORDER BY s.loan_id, s.line) AS ordered
        HAVING count(*) > 0
    ) AS batch, append_events(batch.loan_ids, batch.event_types, batch.post_dates, batch.amts, batch.source_ids,
                              batch.reversed_ids, batch.memos, %s, %s::date)
"""
_ROWS = "SELECT s.* FROM staged_events AS s"
_ROWS_WITH_REVERSALS = """
    SELECT s.*, e.tx_id AS reversed_id FROM staged_events AS s
    LEFT JOIN loan_events AS e ON e.loan_id = s.loan_id AND e.source_id = s.reverses_source_id
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
        skipped_events: Number of events whose source_id was already recorded, with the same terms.
    """

    loans: int
    events: int
    existing_loans: int
    skipped_events: int


@dataclass(frozen=True)
class _Provenance:
    """Who posts, and which dates are open.

    Attributes:
        posted_by: None for the database's session user.
        closed_until: The day until which the ledger is closed, if it is.
        latest_date: The latest date of an event; None for any.
    """

    posted_by: str | None
    closed_until: date | None
    latest_date: date | None


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
    name: str | None = None,
    latest_date: date | None = None,
    on_progress: OnProgress = ignore_progress,
) -> LoadResult:
    """Load two files in one transaction. On any error nothing is written.

    Args:
        connection: Its user must have the rights of `loaner_poster`.
        loans: CSV file of loans.
        events: CSV file of events.
        again: Whether to load events without source ids from a file that was loaded before.
        name: A name that is recorded beside the database's session user.
        latest_date: The latest date of an event, except of a reversal on its event's date; None for any.
        on_progress: Receives the progress of reading (in bytes), checking and posting (in events). An exception that it
            raises ends the load.

    Raises:
        LoadRejected: If a file cannot be read, its events were loaded before, or it has invalid rows.
    """
    for path in (loans, events):
        try:
            path.open("rb").close()
        except OSError as err:
            raise LoadRejected(f"{path}: {err.strerror}") from err
    reading = _Reading(sum(path.stat().st_size for path in (loans, events)), on_progress)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOAD_LOCK,))
        cursor.execute(staging.CREATE_TABLES)
        loan_rows = _stage(cursor, loans, "staged_loans", LOANS, reading)
        event_rows = _stage(cursor, events, "staged_events", EVENTS, reading)
        on_progress(Progress("checking", loan_rows.good + event_rows.good))
        if not again:
            _reject_loaded(cursor, event_rows)
        provenance = _read_provenance(cursor, name, latest_date)
        skipped = _check(cursor, loan_rows, event_rows, provenance)
        to_post = event_rows.good - skipped
        on_progress(Progress("posting", 0, 0, to_post))
        try:
            cursor.execute(_CREATE_LOANS, (provenance.posted_by,))
            created, _ = cursor.fetchone() or (0, None)
            for posted in _post(cursor, event_rows, provenance):
                on_progress(Progress("posting", posted, posted, to_post))
        except psycopg2.IntegrityError as err:
            # The checks accepted every row, so another transaction has committed since.
            raise LoadRejected(
                f"the ledger changed while the files were loaded ({err.diag.message_primary}); nothing was loaded, "
                "load them again"
            ) from err
        for rows in (loan_rows, event_rows):
            cursor.execute(
                "INSERT INTO loaded_files (digest, file, rows) VALUES (%s, %s, %s)",
                (rows.content.digest(), rows.path.name, rows.good),
            )
    return LoadResult(created, to_post, loan_rows.good - created, skipped)


class _Reading:
    """Reports how much of the files is read.

    Args:
        size: The size of all files, in bytes.
        on_progress: Receives the progress.
    """

    def __init__(self, size: int, on_progress: OnProgress) -> None:
        self._size = size
        self._on_progress = on_progress
        self._bytes = 0
        self._files: list[Rows] = []

    def open(self, path: Path, format: Format) -> Rows:
        """Begin with the next file."""
        rows = Rows(path, format, self.report)
        self._files.append(rows)
        return rows

    def report(self, size: int = 0) -> None:
        """Report that more bytes are read."""
        self._bytes += size
        rows = sum(file.good for file in self._files)
        self._on_progress(Progress("reading", rows, self._bytes, self._size or None))


def _stage(cursor: Any, path: Path, table: str, format: Format, reading: _Reading) -> Rows:
    rows = reading.open(path, format)
    columns = ", ".join(("line", *(rows.columns or format)))
    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)", _Stream(iter(rows)), _COPY_BYTES)
    reading.report()
    cursor.execute(f"ANALYZE {table}")
    return rows


def _reject_loaded(cursor: Any, rows: Rows) -> None:
    """Reject events that were loaded before and would count twice. Events with source ids and loans never do."""
    cursor.execute("SELECT EXISTS (SELECT FROM staged_events WHERE source_id IS NULL)")
    if not cursor.fetchone()[0]:
        return
    forms = rows.content.recorded_forms()
    cursor.execute("SELECT max(loaded_at) FROM loaded_files WHERE digest = ANY (%s) AND rows > 0", (forms,))
    (loaded_at,) = cursor.fetchone()
    if loaded_at is not None:
        raise LoadRejected(
            f"{rows.path} was already loaded on {loaded_at:%Y-%m-%d %H:%M}; to load it again, add --again"
        )


def _read_provenance(cursor: Any, name: str | None, latest_date: date | None) -> _Provenance:
    cursor.execute(_CLOSED_UNTIL)
    (closed_until,) = cursor.fetchone() or (None,)
    posted_by = None
    if name is not None:
        cursor.execute("SELECT session_user")
        posted_by = f"{cursor.fetchone()[0]} ({name})"
    return _Provenance(posted_by, closed_until, latest_date)


def _check(cursor: Any, loans: Rows, events: Rows, provenance: _Provenance) -> int:
    """Check every row, and return the number of events that are skipped.

    Raises:
        LoadRejected: If any row is invalid.
    """
    parameters = {
        "closed_until": provenance.closed_until,
        "latest_date": provenance.latest_date,
        "bad_loans": list(loans.bad_loans),
    }
    bad_loans, bad_events, skipped = loans.bad, events.bad, 0
    # Without the columns of one file the rows of the other cannot be checked.
    if loans.columns and events.columns:
        bad_loans = bad_loans + _query_bad_rows(cursor, loans, staging.BAD_LOANS, parameters)
        if "source_id" in events.columns:
            cursor.execute(staging.MATCH_EVENTS)
            bad_events = bad_events + _query_bad_rows(cursor, events, staging.DIFFERENT_EVENTS)
            cursor.execute(staging.COUNT_SKIPPED)
            (skipped,) = cursor.fetchone()
            cursor.execute(staging.DELETE_MATCHED)
        if "reverses_source_id" in events.columns:
            bad_ids, bad_sources = zip(*events.bad_events, strict=True) if events.bad_events else ((), ())
            sources = {"bad_loans": list(bad_ids), "bad_sources": list(bad_sources)}
            bad_events = bad_events + _query_bad_rows(cursor, events, staging.BAD_REVERSALS, sources)
        bad_events = bad_events + _query_bad_rows(cursor, events, staging.BAD_EVENTS, parameters)
    bad = sorted(dict.fromkeys(bad_loans), key=_line) + sorted(dict.fromkeys(bad_events), key=_line)
    if bad:
        count = len({(row.file, row.line) for row in bad})
        raise LoadRejected(
            f"refused {counted(count, 'row')} with {counted(len(bad), 'error')}; nothing was loaded", bad
        )
    return skipped


def _line(row: BadRow) -> int:
    return row.line


def _query_bad_rows(cursor: Any, rows: Rows, query: str, parameters: dict[str, Any] | None = None) -> list[BadRow]:
    cursor.execute(query, parameters)
    return [BadRow(str(rows.path), line, field, reason) for line, field, reason in cursor]


def _post(cursor: Any, rows: Rows, provenance: _Provenance) -> Iterator[int]:
    """Post the events, and yield their number after each batch."""
    post_events = _POST_EVENTS.format(
        source_ids="array_agg(source_id)" if "source_id" in rows.columns else "NULL::text[]",
        reversed_ids="array_agg(reversed_id)" if "reverses_source_id" in rows.columns else "NULL::bigint[]",
        memos="array_agg(memo)" if "memo" in rows.columns else "NULL::text[]",
        rows=_ROWS_WITH_REVERSALS if "reverses_source_id" in rows.columns else _ROWS,
    )
    waves = [False]
    if "reverses_source_id" in rows.columns:
        cursor.execute(staging.MARK_FOLLOWING)
        waves = [False, True] if cursor.rowcount else waves
    if rows.good > BATCH_EVENTS:
        cursor.execute("CREATE INDEX ON staged_events (loan_id)")
    after = posted = 0
    while True:
        cursor.execute(_BATCH_END, (after, BATCH_EVENTS))
        (until,) = cursor.fetchone()
        if until is None:
            return
        for follows in waves:
            cursor.execute(post_events, (after, until, follows, provenance.posted_by, provenance.latest_date))
            posted += cursor.fetchone()[0] or 0
        yield posted
        after = until
