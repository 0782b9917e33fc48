"""Brings a columnar file up to date: only loans whose versions differ are read again."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from service.portfolio.columnar_file import ColumnarFile, OutdatedFile, UnusableFile
from service.portfolio.columnar_writer import ColumnarWriter, write_columnar_file
from service.portfolio.columns import Counts
from service.portfolio.loan_columns import LoanColumns, build_query, read_columns
from service.postgres.server_identity import CLUSTER_ID

log = logging.getLogger(__name__)

LOANS_PER_BATCH = 2000
_SIZE = f"SELECT {CLUSTER_ID}, count(*), coalesce(sum(version - agreements), 0)::bigint FROM loans"  # noqa: S608
# At least as many as apply.
_AGREEMENTS = """
    SELECT (SELECT count(*) FROM loan_terms), count(*), coalesce(sum(cardinality(due_dates)), 0)::bigint
    FROM loan_schedules
"""
_SELECTED = build_query("WHERE l.loan_id = ANY(%s) ORDER BY l.loan_id")
_ALL = build_query("ORDER BY l.loan_id")


def refresh(
    connection: Connection, path: Path, on_progress: Callable[[int, int], object] = lambda done, total: None
) -> ColumnarFile:
    """Bring a file up to date with one snapshot of the ledger, or create it.

    On an error the file is left unchanged. psycopg2's errors are not converted.

    Args:
        connection: To the primary, of a user that may read.
        path: The file.
        on_progress: Receives the number of loans read so far, and of all loans to read.

    Raises:
        OSError: If the file cannot be read or written.
        UnusableFile: If the versions of loans do not match the number of their records.
        ForeignFile: If something else is stored at the path.
    """
    existing = _open_existing(path)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(_SIZE)
        [(cluster, loans, events)] = cursor.fetchall()
        if existing is not None and existing.cluster != cluster:
            log.info("%s belongs to another database, or predates a failover; reading the whole ledger", path)
            existing = None
        if existing is None:
            with write_columnar_file(path, cluster, _count(connection, loans, events)) as file:
                for loan in _report_progress(read_columns(_stream(connection, _ALL)), loans, on_progress):
                    file.add(loan)
            return ColumnarFile.open(path)
        changed = _find_changed(connection, existing)
        if changed:
            with write_columnar_file(path, cluster, _count(connection, loans, events)) as file:
                _merge(file, existing, _report_progress(_read_loans(connection, changed), len(changed), on_progress))
            return ColumnarFile.open(path)
        return existing


def _open_existing(path: Path) -> ColumnarFile | None:
    try:
        return ColumnarFile.open(path)
    except FileNotFoundError:
        return None
    except OutdatedFile as err:
        log.info("%s; reading the whole ledger", err)
        return None
    except UnusableFile as err:
        log.warning("%s; recreating it", err)
        return None


def _count(connection: Connection, loans: int, events: int) -> Counts:
    """Return the numbers of rows, including the terms and schedules that do not apply."""
    with connection.cursor() as cursor:
        cursor.execute(_AGREEMENTS)
        [agreements] = cursor.fetchall()
    return Counts(loans, events, *agreements)


def _find_changed(connection: Connection, existing: ColumnarFile) -> list[int]:
    """Return the loans that the file lacks, or has in another version. Loans are never deleted."""
    stored = zip(existing.columns.loan_ids, existing.columns.versions, strict=True)
    changed, current = [], next(stored, None)
    for loan in _stream(connection, "SELECT loan_id, version FROM loans ORDER BY loan_id"):
        if loan != current:
            changed.append(loan[0])
        if current is not None and current[0] == loan[0]:
            current = next(stored, None)
    return changed


def _merge(file: ColumnarWriter, existing: ColumnarFile, changed: Iterable[LoanColumns]) -> None:
    """Write the existing loans, with changed ones, which are sorted by id, inserted or replaced."""
    index = 0
    for loan in changed:
        position = existing.position(loan.loan_id)
        file.copy(existing.columns, index, position)
        file.add(loan)
        is_replaced = position < len(existing) and existing.columns.loan_ids[position] == loan.loan_id
        index = position + is_replaced
    file.copy(existing.columns, index, len(existing))


def _read_loans(connection: Connection, loan_ids: list[int]) -> Iterator[LoanColumns]:
    with connection.cursor() as cursor:
        for first in range(0, len(loan_ids), LOANS_PER_BATCH):
            cursor.execute(_SELECTED, (loan_ids[first : first + LOANS_PER_BATCH],))
            yield from read_columns(cursor)


def _stream(connection: Connection, query: str) -> Iterator[tuple[Any, ...]]:
    with closing(connection.cursor(name="rows")) as cursor:
        cursor.itersize = LOANS_PER_BATCH
        cursor.execute(query)
        yield from cursor


def _report_progress(
    loans: Iterable[LoanColumns], total: int, on_progress: Callable[[int, int], object]
) -> Iterator[LoanColumns]:
    for done, loan in enumerate(loans, 1):
        yield loan
        if done % LOANS_PER_BATCH == 0:
            on_progress(done, total)
