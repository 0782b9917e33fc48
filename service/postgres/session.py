"""Opens a session on one server in bounded time."""

import re
import select
import time
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import connection as Connection

from service.net.hosts import Host
from service.postgres.server_identity import CLUSTER_ID, ServerIdentity

# Prepared queries find loans by key, so one generic plan fits all parameters. On partitioned tables, Postgres would
# otherwise plan each execution, which takes longer than running it.
_READ_ONLY = "SET default_transaction_read_only = on; SET plan_cache_mode = force_generic_plan;"
# The cluster id is stored in the session: a session never changes its server.
_START = f"""
    SET statement_timeout = %s;
    SELECT set_config('loaner.cluster', {CLUSTER_ID}, false), pg_is_in_recovery(), pg_backend_pid()
"""


class Session(Connection):
    """An asynchronous connection. `wait` completes its operations, and can give up on a server that stops responding.

    Attributes:
        host: The host and port that it was opened to.
        backend: The process of the server.
        server: What the server was when the session began.
        credentials_generation: The generation of the credentials that it uses, if they change.
    """

    host: str
    backend: int
    server: ServerIdentity
    credentials_generation: int = 0

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands in between: it does not know the server's process when it accepts a client."""
        return self.get_backend_pid() != self.backend


def open_session(
    host: Host, parameters: dict[str, Any], *, read_only: bool, statement_timeout_s: float, timeout_s: float
) -> Session:
    """Open a session.

    Args:
        host: The server.
        parameters: libpq's parameters, without the host.
        read_only: Whether its transactions are read-only by default.
        statement_timeout_s: Seconds that each of its statements may take.
        timeout_s: Seconds within which the session must be ready.

    Raises:
        TimeoutError: If the session is not ready in time.
        psycopg2.Error: If the server rejects it.
    """
    deadline = time.monotonic() + timeout_s
    session: Session = psycopg2.connect(
        async_=True, connection_factory=Session, host=host.name, port=host.port, **parameters
    )
    try:
        wait(session, timeout_s)
        with session.cursor() as cursor:
            cursor.execute(_READ_ONLY + _START if read_only else _START, (int(statement_timeout_s * 1000),))
            wait(session, deadline - time.monotonic())
            [(cluster, is_replica, session.backend)] = cursor.fetchall()
        session.host = str(host)
        session.server = ServerIdentity.parse(cluster, is_replica)
        return session
    except BaseException:
        session.close()
        raise


def query(session: Session, sql: str, timeout_s: float, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """Run a query and return its first row, or an empty tuple.

    Raises:
        TimeoutError: If it takes longer than `timeout_s`. The session is then unusable.
        psycopg2.Error: If it fails.
    """
    with session.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        wait(session, timeout_s)
        row = cursor.fetchone() if cursor.description else None
    return row or ()


def wait(connection: Connection, timeout_s: float) -> None:
    """Wait until an asynchronous connection has completed its operation.

    Raises:
        TimeoutError: If it takes longer. The connection is then unusable.
        psycopg2.Error: If the operation fails.
    """
    deadline = time.monotonic() + timeout_s
    while (state := connection.poll()) != extensions.POLL_OK:
        events = select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        # libpq may change the socket while it connects
        poller = select.poll()
        poller.register(connection.fileno(), events)
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("no response")
        poller.poll(remaining_s * 1000)


def check_open(connection: Connection) -> None:
    """Check that the server has not closed an idle asynchronous connection, without a round trip.

    Raises:
        psycopg2.Error: If it has.
    """
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    while poller.poll(0):
        connection.poll()  # reads the server's reason first, then the end of the stream


def failure_reason(err: Exception) -> str:
    """Return the first line of an error without libpq's mention of the host."""
    line = str(err).strip().partition("\n")[0] or "no reason given"
    return re.sub(r"^connection to server .*? failed: ", "", line)
