"""One connection to Postgres, and how long to wait for it."""

import select
import time
from typing import Any, Literal

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import connection as Connection

from service.errors import DatabaseUnavailable, SettingsError
from service.settings import Settings

Role = Literal["reader", "posting", "admin"]


def connect(settings: Settings, role: Role) -> Connection:
    """A connection for commands, which wait as long as their work takes.

    Raises: SettingsError when the role is not set up; DatabaseUnavailable when Postgres does not answer.
    """
    parameters = _parameters(settings, role)
    try:
        made: Connection = psycopg2.connect(connect_timeout=settings.psql_connect_timeout_s, **parameters)
        return made
    except psycopg2.OperationalError as err:
        raise _unavailable(settings, err) from err


def connect_bounded(settings: Settings) -> Connection:
    """A reader's connection for requests: asynchronous, so that `wait` can give up on a server that falls silent.

    (A server's own `statement_timeout` is of no use when the server is stopped or out of reach.)

    Raises: SettingsError; DatabaseUnavailable.
    """
    parameters = _parameters(settings, "reader")
    timeout_s = settings.psql_connect_timeout_s
    connection: Connection | None = None
    try:
        connection = psycopg2.connect(async_=True, **parameters)
        wait(connection, timeout_s)
        with connection.cursor() as cursor:
            cursor.execute(
                "SET default_transaction_read_only = on; SET statement_timeout = %s",
                (int(settings.psql_statement_timeout_s * 1000),),
            )
            wait(connection, timeout_s)
        return connection
    except (psycopg2.OperationalError, TimeoutError) as err:
        if connection is not None:
            connection.close()
        raise _unavailable(settings, err) from err


def wait(connection: Connection, timeout_s: float) -> None:
    """Until an asynchronous connection has done what it was asked.

    Raises: TimeoutError, after which the connection is of no use; psycopg2's errors.
    """
    deadline = time.monotonic() + timeout_s
    while (state := connection.poll()) != extensions.POLL_OK:
        events = select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        # while it connects, a connection may change its socket
        poller = select.poll()
        poller.register(connection.fileno(), events)
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("no answer")
        poller.poll(remaining_s * 1000)


def _parameters(settings: Settings, role: Role) -> dict[str, Any]:
    user, password = {
        "reader": (settings.psql_user, settings.psql_pw),
        "posting": (settings.psql_posting_user, settings.psql_posting_pw),
        "admin": (settings.psql_admin_user, settings.psql_admin_pw),
    }[role]
    if settings.psql_host is None:
        raise SettingsError("PSQL_HOST is not set; export it, or add --standalone")
    if user is None:
        raise SettingsError(f"PSQL_{role.upper()}_USER is not set; export it and PSQL_{role.upper()}_PW")
    return {
        "host": settings.psql_host,
        "port": settings.psql_port,
        "dbname": settings.psql_db,
        "user": user,
        "password": password.get_secret_value() if password else None,
        "application_name": f"loaner {role}",
    }


def _unavailable(settings: Settings, err: Exception) -> DatabaseUnavailable:
    reason = str(err).strip().partition("\n")[0] or "no reason given"
    return DatabaseUnavailable(f"Postgres at {settings.psql_host}:{settings.psql_port}: {reason}")
