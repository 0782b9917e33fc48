"""Bringing a ledger file up to date: only loans whose version is another one are read again."""

import logging
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from service.portfolio.columnar_file import ColumnarFile, ColumnarWriter, LoanColumns, UnusableFile, write_columnar_file
from service.postgres.connect import CLUSTER_ID
from service.postgres.sql_fragments import EPOCH, SIGNED_AMT

log = logging.getLogger(__name__)

LOANS_PER_BATCH = 2000
_SIZE = f"SELECT {CLUSTER_ID}, count(*), coalesce(sum(version), 0)::bigint FROM loans"  # noqa: S608
# An index scan for each loan, so that the events of all need not be sorted. Numbers come in network order.
_LEDGERS = f"""
    SELECT l.loan_id, l.version, l.start_date - {EPOCH}, (l.initial_amt * 100)::bigint, l.currency, e.days, e.changes
    FROM loans AS l
    CROSS JOIN LATERAL (
        SELECT string_agg(int4send(post_date - {EPOCH}), '' ORDER BY post_date, tx_id) AS days,
               string_agg(int8send(({SIGNED_AMT} * 100)::bigint), '' ORDER BY post_date, tx_id) AS changes
        FROM loan_events WHERE loan_id = l.loan_id
    ) AS e
"""  # noqa: S608  (put together from constants, not from input)
_SOME = f"{_LEDGERS} WHERE l.loan_id = ANY(%s) ORDER BY l.loan_id"
_ALL = f"{_LEDGERS} ORDER BY l.loan_id"


def refresh(
    connection: Connection, path: Path, on_progress: Callable[[int, int], object] = lambda done, of: None
) -> ColumnarFile:
    """The ledger as it is now, in one snapshot. path: its file, which is brought up to date, or made.

    connection: of a user that may read, to the primary. on_progress: told how many loans of how many have been read.

    Raises: OSError; UnusableFile; ForeignFile; psycopg2's errors. The file is then as it was.
    """
    held = _held(path)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(_SIZE)
        [(cluster, loans, events)] = cursor.fetchall()
        if held is not None and held.cluster != cluster:
            log.info("%s is of another database, or of before a failover: everything is read", path)
            held = None
        if held is None:
            with write_columnar_file(path, cluster, loans, events) as file:
                for loan in _told(_ledgers(_rows(connection, _ALL)), loans, on_progress):
                    file.add(loan)
            return ColumnarFile.open(path)
        changed = _changed(connection, held)
        if changed:
            with write_columnar_file(path, cluster, loans, events) as file:
                _merge(file, held, _told(_read(connection, changed), len(changed), on_progress))
            return ColumnarFile.open(path)
        return held


def _held(path: Path) -> ColumnarFile | None:
    try:
        return ColumnarFile.open(path)
    except FileNotFoundError:
        return None
    except UnusableFile as err:
        log.warning("%s: it is made anew", err)
        return None


def _changed(connection: Connection, held: ColumnarFile) -> list[int]:
    """The loans that are not, or not in this version, in the file. Loans never go away."""
    known = zip(held.columns.loan_ids, held.columns.versions, strict=True)
    changed, at_hand = [], next(known, None)
    for loan in _rows(connection, "SELECT loan_id, version FROM loans ORDER BY loan_id"):
        if loan != at_hand:
            changed.append(loan[0])
        if at_hand is not None and at_hand[0] == loan[0]:
            at_hand = next(known, None)
    return changed


def _merge(file: ColumnarWriter, held: ColumnarFile, fresh: Iterable[LoanColumns]) -> None:
    """What is held, with fresh loans in their places. fresh: in the order of their ids."""
    at = 0
    for loan in fresh:
        place = held.position(loan.loan_id)
        file.copy(held.columns, at, place)
        file.add(loan)
        at = place + (place < len(held) and held.columns.loan_ids[place] == loan.loan_id)
    file.copy(held.columns, at, len(held))


def _read(connection: Connection, loan_ids: list[int]) -> Iterator[LoanColumns]:
    with connection.cursor() as cursor:
        for first in range(0, len(loan_ids), LOANS_PER_BATCH):
            cursor.execute(_SOME, (loan_ids[first : first + LOANS_PER_BATCH],))
            yield from _ledgers(cursor)


def _rows(connection: Connection, query: str) -> Iterator[tuple[Any, ...]]:
    with closing(connection.cursor(name="rows")) as cursor:
        cursor.itersize = LOANS_PER_BATCH
        cursor.execute(query)
        yield from cursor


def _ledgers(rows: Iterable[tuple[Any, ...]]) -> Iterator[LoanColumns]:
    for loan_id, version, start_day, initial, currency, days, changes in rows:
        running = array("q", islice(accumulate(_column("q", changes), initial=initial), 1, None))
        yield LoanColumns(loan_id, version, start_day, initial, currency, _column("i", days), running)


def _column(code: str, data: bytes | None) -> "array[int]":
    column = array(code)
    column.frombytes(data or b"")
    if sys.byteorder == "little":
        column.byteswap()
    return column


def _told(loans: Iterable[LoanColumns], count: int, on_progress: Callable[[int, int], object]) -> Iterator[LoanColumns]:
    for done, loan in enumerate(loans, 1):
        yield loan
        if done % LOANS_PER_BATCH == 0:
            on_progress(done, count)
