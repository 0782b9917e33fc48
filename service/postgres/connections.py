"""A bounded number of connections, which are replaced when they are outdated. Fails fast when none is available."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from service.errors import CredentialsRefused, DatabaseBusy, DatabaseUnavailable, QueryTimeout
from service.observability import metrics
from service.postgres.connector import Connector
from service.postgres.session import Session
from service.settings import PoolSettings

RECYCLE_S = 1800  # maximum age of a connection
RECONNECT_DELAY_S = 1.0  # after a failure to connect, queries fail immediately for this time
# errors of a session that lost its state (a pooler's may), or whose tables have changed
LOST_STATE = (
    psycopg2.errors.InvalidSqlStatementName,
    psycopg2.errors.UndefinedObject,
    psycopg2.errors.FeatureNotSupported,
)
# errors of a session that also occur when its role was dropped
STALE_SESSION = (psycopg2.errors.InsufficientPrivilege, *LOST_STATE)
_KINDS = {"exhausted": DatabaseBusy, "timeout": QueryTimeout}  # errors with a class, by their reason


class Connections:
    """Connections that one connector opens.

    Args:
        connector: Opens them. All are replaced when its generation changes.
        bounds: Their number, and how long to wait for one.
        now: A clock, in seconds.
    """

    def __init__(self, connector: Connector, bounds: PoolSettings, now: Callable[[], float]) -> None:
        self._connector = connector
        self._generation = connector.generation
        self._now = now
        self._down: tuple[float, str] | None = None
        self._pool = QueuePool(
            self._open,  # type: ignore[arg-type]  # the protocol has more members than a pool uses
            pool_size=bounds.size,
            max_overflow=0,
            timeout=bounds.wait_s,
            recycle=RECYCLE_S,
            reset_on_return=None,  # autocommit: nothing to roll back
        )
        # pools that `recreate` returns keep the listeners
        event.listen(self._pool, "connect", lambda *_: metrics.database_connections.inc())
        event.listen(self._pool, "close", lambda *_: metrics.database_connections.dec())
        metrics.database_connections_max.inc(bounds.size)

    def recycle(self) -> None:
        """Replace every connection: idle ones immediately, those in use when they return to the pool."""
        self._replace_pool(self._pool)

    def suspend(self, reason: str) -> None:
        """Fail for `RECONNECT_DELAY_S`, and replace all connections."""
        self._down = (self._now() + RECONNECT_DELAY_S, reason)
        self.recycle()

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.dispose()

    @contextmanager
    def take(self) -> Iterator[Any]:
        """Yield a connection of SQLAlchemy's pool, which returns at the end of the block.

        It is closed if the block raises an error that leaves its state unknown.

        Raises:
            DatabaseUnavailable: If no connection is available.
        """
        if self._down is not None and self._now() < self._down[0]:
            raise unavailable("down", self._down[1])
        self._connector.await_credentials()  # without a connection of the pool, which others may need
        self._replace_outdated()
        pool = self._pool
        try:
            pooled: Any = pool.connect()
        except PoolTimeout as err:
            raise unavailable("exhausted", "every connection to Postgres is in use") from err
        metrics.database_connections_in_use.inc()
        try:
            yield pooled
        except STALE_SESSION:
            pooled.dbapi_connection.close()
            raise
        except psycopg2.Error:
            raise
        except BaseException:
            pooled.dbapi_connection.close()  # it may still be busy with an abandoned query
            raise
        finally:
            metrics.database_connections_in_use.dec()
            if pooled.dbapi_connection.closed:
                pooled.invalidate()
                self._replace_pool(pool)
            elif self._pool is not pool:
                pooled.invalidate()  # its credentials or its server are outdated
            pooled.close()

    def _open(self) -> Session:
        try:
            connection = self._connector.connect()
        except DatabaseUnavailable as err:
            if not (isinstance(err, CredentialsRefused) and self._connector.has_changing_credentials):
                metrics.database_refusals.labels("down").inc()
                self._down = (self._now() + RECONNECT_DELAY_S, str(err))
            raise
        self._down = None
        return connection

    def _replace_outdated(self) -> None:
        if self._connector.generation != self._generation:
            self._generation = self._connector.generation
            self.recycle()

    def _replace_pool(self, pool: QueuePool) -> None:
        """Close a pool's idle connections and go on with an empty pool, unless that has happened already."""
        if self._pool is pool:
            self._pool = pool.recreate()
        pool.dispose()


def unavailable(reason: str, message: str) -> DatabaseUnavailable:
    """Return an error, and count it by its reason."""
    metrics.database_refusals.labels(reason).inc()
    return _KINDS.get(reason, DatabaseUnavailable)(message)
