"""Opens one connection to Postgres: finds the right server and bounds the waiting time."""

import re
import select
import time
from typing import Any, Literal

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import connection as Connection

from service.errors import CredentialsRefused, DatabaseUnavailable, SettingsError
from service.net.hosts import Host, parse_hosts
from service.postgres.host_ranking import HostRanking
from service.settings import Login, PostgresSettings

# Identifies the history within which transaction ids and loan versions are comparable. Parts: database oid, system
# identifier, WAL timeline, and the time of the last statistics reset. Postgres resets statistics when it recovers from
# a crash, and keeps them otherwise. A primary reports the timeline that it writes, which a promotion changes
# immediately. A replica reports the timeline that it has replayed for certain, which it records with some delay; a
# replica that has diverged from the primary stays on the old timeline. A replica's id is a prefix of its primary's.
CLUSTER_ID = """
    concat_ws('.', (SELECT oid FROM pg_database WHERE datname = current_database()),
              (SELECT system_identifier FROM pg_control_system()),
              CASE WHEN pg_is_in_recovery()
                  THEN lpad(upper(to_hex(greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                                                  (SELECT min_recovery_end_timeline FROM pg_control_recovery())))),
                            8, '0')
                  ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
                       || '.' || coalesce((SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_bgwriter), '')
              END)
"""
# Prepared queries find loans by key, so one generic plan fits all parameters. On partitioned tables, Postgres would
# otherwise plan each execution, which takes longer than running it.
_READ_ONLY = "SET default_transaction_read_only = on; SET plan_cache_mode = force_generic_plan;"
# The cluster id is stored in the session: a session never changes its server.
_START_SESSION = f"""
    SET statement_timeout = %s;
    SELECT set_config('loaner.cluster', {CLUSTER_ID}, false);
    SELECT pg_is_in_recovery()
"""

Role = Literal["reader", "posting", "admin"]
TargetRole = Literal["primary", "replica"]


def parse_configured_hosts(settings: PostgresSettings) -> tuple[Host, ...]:
    """Return the database's servers in the order of PSQL_HOST.

    Raises:
        SettingsError: If PSQL_HOST is not set.
    """
    if settings.hosts is None:
        raise SettingsError("PSQL_HOST is not set. Set it, or run with --standalone.")
    return parse_hosts(settings.hosts, settings.port)


def has_replicas(settings: PostgresSettings) -> bool:
    """Return whether PSQL_HOST names more than one server."""
    return settings.hosts is not None and len(parse_configured_hosts(settings)) > 1


def connect(settings: PostgresSettings, role: Role) -> Connection:
    """Connect a command to the primary. Its statements may take any time.

    Connecting takes at most PSQL_CONNECT_TIMEOUT_S per host.

    Raises:
        SettingsError: If PSQL_HOST or the role's user is not set.
        DatabaseUnavailable: If no host is a primary that accepts the connection.
    """
    hosts = parse_configured_hosts(settings)
    try:
        connection: Connection = psycopg2.connect(
            host=",".join(host.name for host in hosts),
            port=",".join(str(host.port) for host in hosts),
            target_session_attrs="primary" if role == "reader" else "read-write",
            connect_timeout=settings.connect_timeout_s,
            **_parameters(settings, role, login_for(settings, role)),
        )
        return connection
    except psycopg2.OperationalError as err:
        # libpq writes one line for each host, followed by indented hints
        lines = [line for line in str(err).strip().splitlines() if not line[:1].isspace()]
        reason = "; ".join(lines if len(hosts) > 1 else lines[:1]) or "no reason given"
        raise DatabaseUnavailable(f"Postgres at {', '.join(map(str, hosts))}: {reason}") from err


def connect_with_timeout(
    settings: PostgresSettings,
    target_role: TargetRole = "primary",
    ranking: HostRanking | None = None,
    role: Role = "reader",
    *,
    login: Login | None = None,
    statement_timeout_s: float | None = None,
) -> Connection:
    """Connect a request to a server of the right role within PSQL_CONNECT_TIMEOUT_S.

    Several hosts share the timeout; each gets at least one second. The connection is asynchronous, so `wait` can give
    up on a server that stops responding. The server's `statement_timeout` cannot, if the server hangs or is
    unreachable.

    Args:
        settings: The servers, and how to connect.
        target_role: What the server must be.
        ranking: The order in which to try several hosts; learns which failed.
        role: Who connects. The sessions of a reader are read-only.
        login: The login of the role. The default is that of the settings.
        statement_timeout_s: Seconds that each statement may take. The default is PSQL_STATEMENT_TIMEOUT_S.

    Raises:
        SettingsError: If PSQL_HOST or the role's user is not set.
        CredentialsRefused: If every host that responds rejects the login.
        DatabaseUnavailable: If no host qualifies. The message names each host and its failure.
    """
    hosts = parse_configured_hosts(settings)
    share_s = max(1.0, settings.connect_timeout_s / len(hosts))
    ranking = ranking or HostRanking(shuffled=target_role == "replica")
    parameters = _parameters(settings, role, login or login_for(settings, role))
    script = _READ_ONLY + _START_SESSION if role == "reader" else _START_SESSION
    session = (script, statement_timeout_s or settings.statement_timeout_s)
    reasons: list[str] = []
    authenticated = False
    for host in ranking.ranked(hosts):
        try:
            connection, is_replica = _connect_to(host, parameters, session, share_s)
        except (psycopg2.Error, TimeoutError) as err:
            reasons.append(f"{host}: {_failure_reason(err)}")
        else:
            authenticated = True
            if is_replica == (target_role == "replica"):
                return connection
            connection.close()
            reasons.append(f"{host} is {'a replica' if is_replica else 'the primary'}")
        ranking.report_failure(host)
    details = "; ".join(reasons)
    # One server that accepts the login proves it valid: a replica may lag behind the creation of a user.
    rejected = not authenticated and ("authentication failed" in details or "not exist" in details)
    summary = f"no Postgres {target_role} found:" if len(hosts) > 1 or target_role == "replica" else "Postgres at"
    raise (CredentialsRefused if rejected else DatabaseUnavailable)(f"{summary} {details}")


def _connect_to(
    host: Host, parameters: dict[str, Any], session: tuple[str, float], timeout_s: float
) -> tuple[Connection, bool]:
    """Return a connection, and whether its server is a replica.

    Args:
        host: The server.
        parameters: libpq's parameters.
        session: The SQL that starts the session, and the seconds that each of its statements may take.
        timeout_s: Seconds within which the session must be ready.
    """
    deadline = time.monotonic() + timeout_s
    script, statement_timeout_s = session
    connection: Connection = psycopg2.connect(async_=True, host=host.name, port=host.port, **parameters)
    try:
        wait(connection, timeout_s)
        with connection.cursor() as cursor:
            cursor.execute(script, (int(statement_timeout_s * 1000),))
            wait(connection, deadline - time.monotonic())
            row = cursor.fetchone()
        return connection, row is not None and bool(row[0])
    except BaseException:
        connection.close()
        raise


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


def login_for(settings: PostgresSettings, role: Role) -> Login:
    """Return the login for a role.

    Raises:
        SettingsError: If the role's user is not set.
    """
    login = {"reader": settings.reader, "posting": settings.poster, "admin": settings.admin}[role]
    if login is None:
        raise SettingsError(f"PSQL_{role.upper()}_USER is not set. Set it and PSQL_{role.upper()}_PW.")
    return login


def _parameters(settings: PostgresSettings, role: Role, login: Login) -> dict[str, Any]:
    return {
        "dbname": settings.database,
        "user": login.user,
        "password": login.password,
        "application_name": f"loaner {role}",
        # Commands wait without a deadline. Keepalives end the wait if the network fails during a reply.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def _failure_reason(err: Exception) -> str:
    """Return the first line of an error without libpq's mention of the host."""
    line = str(err).strip().partition("\n")[0] or "no reason given"
    return re.sub(r"^connection to server .*? failed: ", "", line)
