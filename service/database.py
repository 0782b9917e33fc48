"""Connections to Postgres: a bounded pool, and what to say when there is none."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg2
from psycopg2.extensions import connection as Connection
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from service.errors import DatabaseUnavailable, SettingsError
from service.settings import Settings

log = logging.getLogger(__name__)

RECYCLE_S = 1800  # a connection is retired at this age


def connect(settings: Settings, role: str = "reader") -> Connection:
    """A connection of its own, outside any pool. role: "reader", "posting" or "admin".

    Raises: SettingsError when the role is not set up; DatabaseUnavailable when Postgres does not answer.
    """
    user, password = {
        "reader": (settings.psql_user, settings.psql_pw),
        "posting": (settings.psql_posting_user, settings.psql_posting_pw),
        "admin": (settings.psql_admin_user, settings.psql_admin_pw),
    }[role]
    if settings.psql_host is None:
        raise SettingsError("PSQL_HOST is not set; export it, or add --standalone")
    if user is None:
        raise SettingsError(f"PSQL_{role.upper()}_USER is not set; export it and PSQL_{role.upper()}_PW")
    try:
        return psycopg2.connect(
            host=settings.psql_host,
            port=settings.psql_port,
            dbname=settings.psql_db,
            user=user,
            password=password.get_secret_value() if password else None,
            connect_timeout=settings.psql_connect_timeout_s,
            application_name=f"loaner {role}",
        )
    except psycopg2.OperationalError as err:
        reason = str(err).strip().splitlines()[-1]
        raise DatabaseUnavailable(f"Postgres at {settings.psql_host}:{settings.psql_port}: {reason}") from err


class Database(Protocol):
    """Something that reads one row at a time."""

    def row(self, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None. Raises: DatabaseUnavailable."""
        ...


class PooledDatabase:
    """Read-only queries over at most `threads` connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = QueuePool(
            self._open,  # type: ignore[arg-type]  # its protocol asks for more than a pool uses
            pool_size=settings.threads,
            max_overflow=0,
            timeout=settings.psql_pool_timeout_s,
            recycle=RECYCLE_S,
        )

    def _open(self) -> Connection:
        connection = connect(self._settings)
        # one statement is one transaction: nothing to begin, nothing to roll back
        connection.set_session(readonly=True, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", (int(self._settings.psql_statement_timeout_s * 1000),))
        return connection

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        pool = self._pool
        try:
            pooled = pool.connect()
        except PoolTimeout as err:
            raise DatabaseUnavailable("every connection to Postgres is in use") from err
        cursor: Any = pooled.cursor()
        try:
            with cursor:
                yield cursor
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as err:
            if pooled.dbapi_connection is None or pooled.dbapi_connection.closed:
                pooled.invalidate(err)
                self._replace(pool)
            raise
        finally:
            pooled.close()

    def _replace(self, pool: QueuePool) -> None:
        """One connection was found dead; the others that wait beside it likely are, too."""
        if self._pool is pool:
            self._pool = pool.recreate()
        pool.dispose()

    def row(self, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None. A connection that turns out to be dead is replaced and asked once more.

        Raises: DatabaseUnavailable.
        """
        for attempt in (1, 2):
            try:
                with self._cursor() as cursor:
                    cursor.execute(sql, parameters)
                    row: tuple[Any, ...] | None = cursor.fetchone()
                    return row
            except psycopg2.errors.QueryCanceled as err:
                raise DatabaseUnavailable("Postgres took too long to answer") from err
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as err:
                log.warning("Postgres broke off (attempt %d): %s", attempt, str(err).strip())
                failure = err
        raise DatabaseUnavailable("Postgres broke off the connection") from failure

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.dispose()
