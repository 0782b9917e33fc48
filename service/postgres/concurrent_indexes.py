"""Indexes that are built while the ledger is read and posted to.

They are not part of the migrations, which run in one transaction: building an index in a transaction blocks postings
until it ends, which takes minutes for millions of events. Every answer is the same without them, but slower. An index
whose build was interrupted is built again.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier

from service.errors import SettingsError, first_line
from service.postgres.connect import connect
from service.settings import PostgresSettings

log = logging.getLogger(__name__)

# Each index with its table and the rest of its definition.
INDEXES = {
    "loan_events_by_source": ("loan_events", "(source_id, loan_id) WHERE source_id IS NOT NULL"),
    "loans_with_agreements": ("loans", "(loan_id) WHERE agreements > 0"),
}
_LOCK = 0x6C6F6169  # key of the advisory lock under which one process builds indexes
_PAUSE = "SELECT pg_sleep(0.5)"  # a statement, so that it can be canceled
_LOCK_TIMEOUT = "SET lock_timeout = '500ms'"
_IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
_IS_ATTACHED = "SELECT FROM pg_inherits WHERE inhrelid = to_regclass(%s)"
_PARTITIONS = """
    SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = to_regclass(%s) ORDER BY oid
"""


def build_indexes(
    settings: PostgresSettings, guard: Callable[[Any], AbstractContextManager[object]] = nullcontext
) -> None:
    """Build the indexes that are missing, as the admin user.

    Args:
        settings: The database and its admin user.
        guard: Enters a block for the connection, in which everything is done.

    Raises:
        SettingsError: If an index cannot be built.
        DatabaseUnavailable: If no primary accepts the connection.
    """
    with closing(connect(settings, "admin")) as connection, guard(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name, (table, definition) in INDEXES.items():
                try:
                    _build(cursor, name, table, SQL(definition))
                except psycopg2.Error as err:
                    raise SettingsError(
                        f"building the index {name} failed, the ledger works without it: {first_line(err)}"
                    ) from err


def _build(cursor: Any, name: str, table: str, definition: Composable) -> None:
    if _state(cursor, name):
        return
    # Polled: a statement that waits would have a snapshot, and the other process waits for snapshots to end.
    while _ask(cursor, "SELECT WHERE pg_try_advisory_lock(%s)", _LOCK) is None:
        cursor.execute(_PAUSE)
    cursor.execute(_PARTITIONS, (f"public.{table}",))
    partitions = [row[0] for row in cursor.fetchall()]
    if partitions:
        _build_partitioned(cursor, name, table, partitions, definition)
    else:
        _build_one(cursor, name, table, definition)
    _ask(cursor, "SELECT pg_advisory_unlock(%s)", _LOCK)


def _build_partitioned(cursor: Any, name: str, table: str, partitions: list[str], definition: Composable) -> None:
    """Build the index of each partition. That of the table is valid as soon as all of them belong to it."""
    if _state(cursor, name) is None:
        statement = SQL("CREATE INDEX {} ON ONLY {} {}").format(Identifier(name), _public(table), definition)
        _until_locked(cursor, statement)
    for partition in partitions:
        part = name.replace(table, partition, 1)
        _build_one(cursor, part, partition, definition)
        if _ask(cursor, _IS_ATTACHED, f"public.{part}") is None:
            _until_locked(cursor, SQL("ALTER INDEX {} ATTACH PARTITION {}").format(_public(name), _public(part)))


def _until_locked(cursor: Any, statement: Composable) -> None:
    """Execute a statement that needs a lock, which postings wait for while it is waited for."""
    cursor.execute(_LOCK_TIMEOUT)
    while True:
        try:
            cursor.execute(statement)
            cursor.execute("RESET lock_timeout")
            return
        except psycopg2.errors.LockNotAvailable:
            cursor.execute(_PAUSE)


def _build_one(cursor: Any, name: str, table: str, definition: Composable) -> None:
    is_valid = _state(cursor, name)
    if is_valid:
        return
    if is_valid is False:  # an earlier build was interrupted
        cursor.execute(SQL("DROP INDEX CONCURRENTLY {}").format(_public(name)))
    log.info("building the index %s; postings continue", name)
    cursor.execute(SQL("CREATE INDEX CONCURRENTLY {} ON {} {}").format(Identifier(name), _public(table), definition))


def _state(cursor: Any, name: str) -> bool | None:
    """Return whether an index is usable; None if it does not exist."""
    row = _ask(cursor, _IS_VALID, f"public.{name}")
    return None if row is None else bool(row[0])


def _ask(cursor: Any, query: str, *parameters: object) -> tuple[Any, ...] | None:
    cursor.execute(query, parameters)
    row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def _public(name: str) -> Composable:
    return Identifier("public", name)
