"""Asking Postgres: a bounded pool of connections, and 503 at once when there is none."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import psycopg2
from psycopg2.extensions import connection as Connection
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from service.errors import DatabaseUnavailable, OutcomeUnknown, first_line
from service.observability import metrics
from service.postgres.connect import Role, TargetRole, check_open, wait
from service.postgres.connector import Connector
from service.postgres.credentials import CurrentCredentials
from service.settings import PoolSettings, PostgresSettings

log = logging.getLogger(__name__)

RECYCLE_S = 1800  # a connection is retired at this age
DOWN_S = 1.0  # after a connection could not be made, nobody else waits for one until so long after
# what a session says whose role was dropped, or whose prepared statement is gone, or of tables that have changed
_STALE_SESSION = (
    psycopg2.errors.InsufficientPrivilege,
    psycopg2.errors.InvalidSqlStatementName,
    psycopg2.errors.FeatureNotSupported,
)
FETCH_ROWS = 2000  # of what is streamed
GRACE_S = 0.5  # the server's own timeout comes first, and leaves the connection usable


class Prepared(NamedTuple):
    """A query that each connection has planned once. name: of its own. sql: with $1, $2; types: of these, in SQL."""

    name: str
    types: tuple[str, ...]
    sql: str

    @property
    def call(self) -> str:
        """What runs it, with a place for each parameter."""
        return f"EXECUTE {self.name} {_in_brackets(['%s'] * len(self.types))}"

    @property
    def definition(self) -> str:
        """What has a connection plan it."""
        return f"PREPARE {self.name} {_in_brackets(self.types)} AS {self.sql}"


class Database(Protocol):
    """Something that is asked, and answers with rows."""

    def rows(self, query: str | Prepared, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises: DatabaseUnavailable; OutcomeUnknown of what writes."""
        ...

    def row(self, query: str | Prepared, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None. Raises: as `rows`."""
        ...

    def suspend(self, reason: str) -> None:
        """Read nothing for a moment, and then from connections that are made anew."""
        ...


class ConnectionPool:
    """Queries over a bounded number of connections.

    credentials: who asks, if that changes; connections of those before are given up as they come back. now: a clock,
    in seconds. want: which of several servers to ask. A connection to a replica that becomes the primary goes on
    until its age retires it: what it reads is newer than asked for. role: a reader can only read, and asks once more
    when a connection breaks off; whatever else was sent is not sent again. pool: its bounds (default: those of the
    settings for this role).
    """

    def __init__(
        self,
        settings: PostgresSettings,
        credentials: CurrentCredentials | None = None,
        now: Callable[[], float] = time.monotonic,
        target_role: TargetRole = "primary",
        role: Role = "reader",
        pool: PoolSettings | None = None,
    ) -> None:
        bounds = pool or (settings.posting_pool if role == "posting" else settings.pool)
        self._timeout_s = bounds.timeout_s
        self._role = role
        self._connector = Connector(settings, credentials, target_role, now, role, bounds.timeout_s)
        self._generation = self._connector.generation
        self._now = now
        self._down: tuple[float, str] | None = None
        self._pool = QueuePool(
            self._open,  # type: ignore[arg-type]  # its protocol asks for more than a pool uses
            pool_size=bounds.size,
            max_overflow=0,
            timeout=bounds.wait_s,
            recycle=RECYCLE_S,
            reset_on_return=None,  # one statement is one transaction: there is nothing to roll back
        )
        event.listen(self._pool, "connect", lambda *_: metrics.database_connections.inc())  # and those that follow it
        event.listen(self._pool, "close", lambda *_: metrics.database_connections.dec())
        metrics.database_connections_max.inc(bounds.size)

    def row(self, query: str | Prepared, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None. Raises: as `rows`."""
        return next(iter(self.rows(query, parameters)), None)

    def rows(self, query: str | Prepared, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. A connection that turns out to be dead is replaced and asked once more.

        Raises: DatabaseUnavailable; OutcomeUnknown when something that writes was sent, and no answer came.
        """
        for attempt in (1, 2):
            asked: Connection | None = None
            try:
                with self._connection() as pooled, pooled.dbapi_connection.cursor() as cursor:
                    if self._role != "reader":
                        check_open(cursor.connection)
                    if isinstance(query, Prepared) and query.name not in pooled.info:
                        self._execute(cursor, query.definition)
                        pooled.info[query.name] = True
                    asked = cursor.connection
                    self._execute(cursor, query.call if isinstance(query, Prepared) else query, parameters)
                    return cursor.fetchall()  # type: ignore[no-any-return]
            except psycopg2.errors.InsufficientPrivilege as err:
                failure: Exception = err
                if not self._connector.refuse(self._generation):  # a session whose role has been dropped
                    denied = "PSQL_USER may not read" if self._role == "reader" else "PSQL_POSTING_USER may not post"
                    raise _refusal("forbidden", f"{denied}: {first_line(err)}") from err
            except psycopg2.errors.ReadOnlySqlTransaction as err:
                if self._role == "reader":
                    raise
                raise _refusal("forbidden", "Postgres takes nothing in now: it is read-only") from err
            except (psycopg2.errors.QueryCanceled, TimeoutError) as err:
                self._raise_if_outcome_unknown(asked, err)
                raise _refusal("timeout", "Postgres took too long to answer") from err
            except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.FeatureNotSupported) as err:
                log.warning("Postgres broke off (attempt %d): %s", attempt, first_line(err))
                self._raise_if_outcome_unknown(asked, err)
                failure = err
        raise _refusal("broken", "Postgres broke off the connection") from failure

    def stream(self, query: str, parameters: tuple[Any, ...] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """All rows of a query, some at a time: of one snapshot, and over a connection that is held until the last one.
        The whole may take as long as a statement may. If nobody comes for the next ones for so long, Postgres ends it.

        Raises: DatabaseUnavailable, also in the middle.
        """
        self.row("SELECT 1")  # a connection that has died meanwhile is replaced
        deadline = self._now() + self._timeout_s
        try:
            with self._transaction() as cursor:
                # a snapshot that is kept open keeps vacuum from every table
                self._execute(
                    cursor, "SET LOCAL idle_in_transaction_session_timeout = %s", (int(self._timeout_s * 1000),)
                )
                self._execute(cursor, f"DECLARE streamed NO SCROLL CURSOR FOR {query}", parameters)
                while True:
                    self._execute(cursor, f"FETCH {FETCH_ROWS} FROM streamed")
                    rows = cursor.fetchall()
                    if not rows:
                        return
                    yield rows
                    if self._now() > deadline:
                        raise TimeoutError
        except (psycopg2.errors.QueryCanceled, TimeoutError) as err:
            raise _refusal("timeout", "Postgres, or whoever was to be told, took too long") from err
        except psycopg2.Error as err:
            raise _refusal("broken", f"Postgres broke off: {first_line(err)}") from err

    def recycle(self) -> None:
        """Make every connection anew: those in use are given up as they come back."""
        self._replace(self._pool)

    def suspend(self, reason: str) -> None:
        """Read nothing for a moment, and then from connections that are made anew."""
        self._down = (self._now() + DOWN_S, reason)
        self.recycle()

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.dispose()

    def _raise_if_outcome_unknown(self, asked: Connection | None, err: Exception) -> None:
        """Raises: OutcomeUnknown when whatever was written over a lost connection may have been committed."""
        answered = isinstance(err, _STALE_SESSION)  # then the connection is one that we have closed
        if self._role != "reader" and asked is not None and asked.closed and not answered:
            metrics.database_refusals.labels("unknown").inc()
            raise OutcomeUnknown(f"Postgres did not say whether it was committed: {first_line(err)}") from err

    def _execute(self, cursor: Any, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        cursor.execute(sql, parameters or None)
        wait(cursor.connection, self._timeout_s + GRACE_S)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A cursor in a transaction. If that is not brought to its end, its connection is of no use any more."""
        with self._connection() as pooled, pooled.dbapi_connection.cursor() as cursor:
            try:
                self._execute(cursor, "BEGIN")
                yield cursor
                self._execute(cursor, "COMMIT")
            except BaseException:
                pooled.dbapi_connection.close()
                raise

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        if self._down is not None and self._now() < self._down[0]:
            raise _refusal("down", self._down[1])
        self._notice_credentials()
        pool = self._pool
        try:
            pooled: Any = pool.connect()
        except PoolTimeout as err:
            raise _refusal("exhausted", "every connection to Postgres is in use") from err
        metrics.database_connections_in_use.inc()
        try:
            yield pooled
        except _STALE_SESSION:
            pooled.dbapi_connection.close()
            raise
        except psycopg2.Error:
            raise
        except BaseException:
            pooled.dbapi_connection.close()  # it may still be busy with what nobody waits for any more
            raise
        finally:
            metrics.database_connections_in_use.dec()
            if pooled.dbapi_connection.closed:
                pooled.invalidate()
                self._replace(pool)
            elif self._pool is not pool:
                pooled.invalidate()  # of credentials that are about to die
            pooled.close()

    def _open(self) -> Connection:
        try:
            connection = self._connector.connect()
        except DatabaseUnavailable as err:
            metrics.database_refusals.labels("down").inc()
            self._down = (self._now() + DOWN_S, str(err))
            raise
        self._down = None
        return connection

    def _notice_credentials(self) -> None:
        if self._connector.generation != self._generation:
            self._generation = self._connector.generation
            self.recycle()

    def _replace(self, pool: QueuePool) -> None:
        """A connection was found dead, or is about to be; those that wait beside it are, too."""
        if self._pool is pool:
            self._pool = pool.recreate()
        pool.dispose()


def _in_brackets(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)})" if parts else ""


def _refusal(reason: str, message: str) -> DatabaseUnavailable:
    metrics.database_refusals.labels(reason).inc()
    return DatabaseUnavailable(message)
