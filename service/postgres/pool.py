"""Runs queries over a bounded pool of connections, and decides which may be repeated."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import psycopg2

from service.errors import CredentialsRefused, DatabaseUnavailable, OutcomeUnknown, first_line
from service.observability import metrics
from service.postgres.connect import Role
from service.postgres.connections import LOST_STATE, STALE_SESSION, Connections, unavailable
from service.postgres.connector import Connector
from service.postgres.credentials import CurrentCredentials
from service.postgres.find_server import TargetRole
from service.postgres.prepared import Prepared
from service.postgres.session import Session, check_open, wait
from service.postgres.wal_timelines import WalTimelines
from service.settings import PoolSettings, PostgresSettings

log = logging.getLogger(__name__)

FETCH_ROWS = 2000  # rows of a stream per round trip
TIMEOUT_MARGIN_S = 0.5  # the client waits this much longer than the server, whose timeout keeps the connection usable


Parameters = tuple[Any, ...] | Mapping[str, Any]


class Superseded(Exception):
    """A server with a higher WAL timeline was seen while a statement ran.

    Args:
        has_failed: Whether the statement certainly had no effect.
    """

    def __init__(self, *, has_failed: bool) -> None:
        super().__init__("another server was promoted while a former primary executed the statement")
        self.has_failed = has_failed


class Database(Protocol):
    """Runs queries and returns their rows."""

    def rows(self, query: str | Prepared, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            DatabaseUnavailable: If Postgres cannot answer.
            OutcomeUnknown: If the connection was lost during a statement that writes.
        """
        ...

    def row(self, query: str | Prepared, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None. Raises the errors of `rows`."""
        ...

    def suspend(self, reason: str) -> None:
        """Fail queries for `RECONNECT_DELAY_S`, and replace all connections."""
        ...


class ConnectionPool:
    """Runs queries over a bounded number of connections.

    A reader repeats a query once if the connection is lost. Other roles never repeat a statement that may have been
    executed. The pool does not notice that a replica becomes the primary; `PostgresLedger` does.

    Args:
        settings: The servers, and the default login.
        credentials: Where the current login comes from, if it changes. Connections with an earlier login are closed
            when they return to the pool.
        now: A clock, in seconds.
        target_role: Which server to query.
        role: Who connects. The sessions of a reader are read-only.
        pool: The bounds of the pool. The default is that of the settings for the role.
        timelines: Knows the highest WAL timeline. By default only this pool's connections are compared.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        credentials: CurrentCredentials | None = None,
        now: Callable[[], float] = time.monotonic,
        target_role: TargetRole = "primary",
        role: Role = "reader",
        pool: PoolSettings | None = None,
        timelines: WalTimelines | None = None,
    ) -> None:
        bounds = pool or (settings.posting_pool if role == "posting" else settings.pool)
        self._timeout_s = bounds.timeout_s
        self._role = role
        self._now = now
        self._connector = Connector(settings, credentials, target_role, now, role, bounds.timeout_s, timelines)
        self._connections = Connections(self._connector, bounds, now)

    def row(self, query: str | Prepared, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None. Raises the errors of `rows`."""
        return next(iter(self.rows(query, parameters)), None)

    def rows(self, query: str | Prepared, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. A reader repeats the query once if the connection is lost.

        Raises:
            DatabaseUnavailable: If Postgres cannot answer.
            OutcomeUnknown: If the connection was lost during a statement that writes.
        """
        losses = 0
        failure: Exception
        give_up_at = time.monotonic() + self._connector.timeout_s
        while True:
            sent_over: Session | None = None
            try:
                with self._connections.take() as pooled, pooled.dbapi_connection.cursor() as cursor:
                    if self._role != "reader":
                        check_open(cursor.connection)
                    if isinstance(query, Prepared):
                        self._prepare(pooled, cursor, query)
                    sent_over = cursor.connection
                    self._execute(cursor, query.call if isinstance(query, Prepared) else query, parameters)
                    return cursor.fetchall()  # type: ignore[no-any-return]
            except (CredentialsRefused, psycopg2.errors.InsufficientPrivilege) as err:
                if not self._connector.await_credentials() or time.monotonic() > give_up_at:
                    raise self._denied(err) from err
                continue  # nothing was executed
            except psycopg2.errors.ReadOnlySqlTransaction as err:
                if self._role == "reader":
                    raise
                raise unavailable("forbidden", "Postgres is read-only and cannot accept postings") from err
            except (psycopg2.errors.QueryCanceled, TimeoutError) as err:
                self._raise_if_outcome_unknown(sent_over, err)
                raise unavailable("timeout", "the query took too long") from err
            except Superseded as err:
                if self._role != "reader" and sent_over is not None and not err.has_failed:
                    metrics.database_refusals.labels("unknown").inc()
                    raise OutcomeUnknown(f"outcome unknown, {err}") from err
                reason, failure = "superseded", err
            except (psycopg2.OperationalError, psycopg2.InterfaceError, *LOST_STATE) as err:
                log.warning("lost the connection to Postgres (attempt %d of 2): %s", losses + 1, first_line(err))
                self._raise_if_outcome_unknown(sent_over, err)
                reason, failure = "broken", err
            losses += 1
            if losses == 2:
                raise unavailable(reason, "lost the connection to Postgres") from failure

    def stream(
        self, query: str, parameters: Parameters = (), batch_rows: int = FETCH_ROWS
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield all rows of a query from one snapshot, `batch_rows` at a time.

        The stream holds a connection until it ends. The statement timeout bounds the stream as a whole. If the caller
        does not take the next rows within that time, Postgres ends the transaction.

        Raises:
            DatabaseUnavailable: If Postgres cannot answer, also between rows.
        """
        while True:
            has_rows = False
            try:
                for rows in self._stream_once(query, parameters, batch_rows):
                    has_rows = True
                    yield rows
                return
            except (psycopg2.errors.QueryCanceled, TimeoutError) as err:
                raise unavailable("timeout", "the query or the client took too long") from err
            except psycopg2.errors.InsufficientPrivilege as err:
                if has_rows or not self._connector.await_credentials():
                    raise self._denied(err) from err
            except Superseded as err:
                raise unavailable("superseded", str(err)) from err
            except psycopg2.Error as err:
                raise unavailable("broken", f"reading from Postgres failed: {first_line(err)}") from err

    def _stream_once(self, query: str, parameters: Parameters, batch_rows: int) -> Iterator[list[tuple[Any, ...]]]:
        self.row("SELECT 1")  # replaces a dead connection
        deadline = self._now() + self._timeout_s
        with self._transaction() as cursor:
            # an abandoned snapshot would keep vacuum from removing dead rows in any table
            self._execute(cursor, "SET LOCAL idle_in_transaction_session_timeout = %s", (int(self._timeout_s * 1000),))
            self._execute(cursor, f"DECLARE streamed NO SCROLL CURSOR FOR {query}", parameters)
            while True:
                self._execute(cursor, f"FETCH {batch_rows} FROM streamed")
                rows = cursor.fetchall()
                if not rows:
                    return
                yield rows
                if self._now() > deadline:
                    raise TimeoutError

    def recycle(self) -> None:
        """Replace every connection: idle ones immediately, those in use when they return to the pool."""
        self._connections.recycle()

    def suspend(self, reason: str) -> None:
        """Fail queries for `RECONNECT_DELAY_S`, and replace all connections."""
        self._connections.suspend(reason)

    def close(self) -> None:
        """Close every idle connection."""
        self._connections.close()

    def _raise_if_outcome_unknown(self, sent_over: Session | None, err: Exception) -> None:
        """Raise OutcomeUnknown if a statement over a lost connection may have been committed."""
        answered = isinstance(err, STALE_SESSION)  # the server rejected the statement; the pool closed the connection
        if self._role != "reader" and sent_over is not None and sent_over.closed and not answered:
            metrics.database_refusals.labels("unknown").inc()
            raise OutcomeUnknown(
                f"outcome unknown, lost the connection to Postgres before it confirmed: {first_line(err)}"
            ) from err

    def _denied(self, err: Exception) -> DatabaseUnavailable:
        if isinstance(err, CredentialsRefused):
            if self._connector.has_changing_credentials:  # otherwise it is counted already
                metrics.database_refusals.labels("down").inc()
            return err
        denied = "PSQL_USER may not read" if self._role == "reader" else "PSQL_POSTING_USER may not post"
        return unavailable("forbidden", f"{denied}: {first_line(err)}")

    def _prepare(self, pooled: Any, cursor: Any, query: Prepared) -> None:
        if query.name in pooled.info:
            return
        # The name says what the statement is, so one that a pooler's session already has is the same.
        with suppress(psycopg2.errors.DuplicatePreparedStatement):
            self._execute(cursor, query.definition)
        pooled.info[query.name] = True

    def _execute(self, cursor: Any, sql: str, parameters: Parameters = ()) -> None:
        session: Session = cursor.connection
        cursor.execute(sql, parameters or None)
        try:
            wait(session, self._timeout_s + TIMEOUT_MARGIN_S)
        except psycopg2.Error as err:
            if isinstance(err, psycopg2.errors.InsufficientPrivilege):
                self._connector.refuse(session)
            if self._connector.is_superseded(session):
                raise Superseded(has_failed=not session.closed) from err
            raise
        if self._connector.is_superseded(session):
            raise Superseded(has_failed=False)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Yield a cursor in a transaction. Closes the connection unless the transaction commits."""
        with self._connections.take() as pooled, pooled.dbapi_connection.cursor() as cursor:
            try:
                self._execute(cursor, "BEGIN")
                yield cursor
                self._execute(cursor, "COMMIT")
            except BaseException:
                pooled.dbapi_connection.close()
                raise
