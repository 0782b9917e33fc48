"""Loads loans and their records from CSV files in one transaction, all or nothing.

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

from service.bulk_load import schedule_staging, staging, terms_staging
from service.bulk_load.agreement_posting import post_schedules, post_terms
from service.bulk_load.checks import Checked, check
from service.bulk_load.csv_rows import Rows
from service.bulk_load.event_posting import post_events
from service.bulk_load.formats import EVENTS, LOANS, SCHEDULES, TERMS, Format
from service.bulk_load.progress import OnProgress, Progress, ignore_progress
from service.bulk_load.provenance import Provenance, read_provenance
from service.bulk_load.rejection import LoadRejected
from service.bulk_load.staged_files import StagedFiles

_COPY_BYTES = 65_536
# An advisory lock: loads run one after the other.
_LOAD_LOCK = 0x6C6F6164
_CREATE_LOANS = """
    SELECT count, create_loans(loan_ids, start_dates, initial_amts, currencies, %s)
    FROM (SELECT count(*), array_agg(loan_id) AS loan_ids, array_agg(start_date) AS start_dates,
                 array_agg(initial_amt) AS initial_amts, array_agg(currency) AS currencies
          FROM staged_loans AS s
          WHERE NOT EXISTS (SELECT FROM loans AS l WHERE l.loan_id = s.loan_id)) AS batch
    WHERE count > 0
"""


@dataclass(frozen=True)
class LoadResult:
    """What was loaded.

    Attributes:
        loans: Number of loans that were created.
        events: Number of events that were posted.
        existing_loans: Number of loans in the file that already existed with the same terms.
        skipped_events: Number of events whose source_id was already recorded, with the same terms.
        terms: Number of records of terms that were posted.
        schedules: Number of schedules that were posted.
        skipped_terms: Number of records of terms that were already recorded.
        skipped_schedules: Number of schedules that were already recorded.
    """

    loans: int
    events: int
    existing_loans: int
    skipped_events: int
    terms: int
    schedules: int
    skipped_terms: int
    skipped_schedules: int


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
    schedules: Path | None = None,
    *,
    terms: Path | None = None,
    again: bool = False,
    name: str | None = None,
    latest_date: date | None = None,
    on_progress: OnProgress = ignore_progress,
) -> LoadResult:
    """Load files in one transaction. On any error nothing is written.

    Args:
        connection: Its user must have the rights of `loaner_poster`.
        loans: CSV file of loans, and of their first terms.
        events: CSV file of events.
        schedules: CSV file of schedules.
        terms: CSV file of terms over time.
        again: Whether to load events without source ids from a file that was loaded before.
        name: A name that is recorded beside the database's session user.
        latest_date: The latest date of an event, except of a reversal on its event's date; None for any.
        on_progress: Receives the progress of reading (in bytes), checking (in rows) and posting (in records). An
            exception that it raises ends the load.

    Raises:
        LoadRejected: If a file cannot be read, its events were loaded before, or it has invalid rows.
    """
    paths = [path for path in (loans, events, schedules, terms) if path is not None]
    for path in paths:
        try:
            path.open("rb").close()
        except OSError as err:
            raise LoadRejected(f"{path}: {err.strerror}") from err
    reading = _Reading(sum(path.stat().st_size for path in paths), on_progress)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOAD_LOCK,))
        for tables in (staging.CREATE_TABLES, terms_staging.CREATE_TABLE, schedule_staging.CREATE_TABLE):
            cursor.execute(tables)
        files = StagedFiles(
            loans=_stage(cursor, loans, "staged_loans", LOANS, reading),
            events=_stage(cursor, events, "staged_events", EVENTS, reading),
            schedules=_stage(cursor, schedules, "staged_installments", SCHEDULES, reading) if schedules else None,
            terms=_stage(cursor, terms, "staged_terms", TERMS, reading) if terms else None,
        )
        on_progress(Progress("checking", sum(rows.good for rows in files.all)))
        if not again:
            _reject_loaded(cursor, files.events)
        provenance = read_provenance(cursor, name, latest_date)
        checked = check(cursor, files, provenance)
        to_post = checked.terms.posted + checked.schedules.posted + checked.events.posted
        on_progress(Progress("posting", 0, 0, to_post))
        try:
            cursor.execute(_CREATE_LOANS, (provenance.posted_by,))
            created, _ = cursor.fetchone() or (0, None)
            posted = 0
            for batch in _post(cursor, files, checked, provenance):
                posted += batch
                on_progress(Progress("posting", posted, posted, to_post))
        except psycopg2.IntegrityError as err:
            # The checks accepted every row, so another transaction has committed since.
            raise LoadRejected(
                f"the ledger changed while the files were loaded ({err.diag.message_primary}); nothing was loaded, "
                "load them again"
            ) from err
        for rows in files.all:
            cursor.execute(
                "INSERT INTO loaded_files (digest, file, rows) VALUES (%s, %s, %s)",
                (rows.content.digest(), rows.path.name, rows.good),
            )
    return LoadResult(
        created, checked.events.posted, files.loans.good - created, checked.events.skipped,
        checked.terms.posted, checked.schedules.posted, checked.terms.skipped, checked.schedules.skipped,
    )  # fmt: skip


def _post(cursor: Any, files: StagedFiles, checked: Checked, provenance: Provenance) -> Iterator[int]:
    """Post all records, and yield the number of those of each batch.

    Terms and schedules come first, so that each version of a new loan that an event makes knows them.
    """
    if checked.terms.posted:
        yield from post_terms(cursor, checked.terms.posted, provenance.posted_by)
    if checked.schedules.posted:
        yield from post_schedules(cursor, checked.schedules.posted, provenance.posted_by)
    yield from post_events(cursor, files.events, provenance.posted_by, provenance.latest_date)


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
