"""One connection to Postgres: to which of its servers, and how long to wait for it."""

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

# Within what numbers of transactions and versions of loans mean something: database, system, the timeline of the WAL,
# and since when there are statistics, which Postgres throws away when it recovers from a crash, and keeps otherwise.
# The timeline is on a primary that of what it writes, which a promotion changes at once; on a replica that of what it
# has replayed for certain, which it notes a while later. One that has gone another way than the primary stays on the
# old one. A replica's name is the beginning of its primary's.
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
# A session keeps its server, and remembers its cluster as it was when it began.
# A query that is prepared looks for loans by their keys, and is planned once: to plan it for each question anew takes
# longer than to run it, and Postgres would do that where tables are in parts.
_ONLY_READ = "SET default_transaction_read_only = on; SET plan_cache_mode = force_generic_plan;"
_BEGIN = f"""
    SET statement_timeout = %s;
    SELECT set_config('loaner.cluster', {CLUSTER_ID}, false);
    SELECT pg_is_in_recovery()
"""

Role = Literal["reader", "posting", "admin"]
TargetRole = Literal["primary", "replica"]


def parse_configured_hosts(settings: PostgresSettings) -> tuple[Host, ...]:
    """The servers of the database, in the order of PSQL_HOST. Raises: SettingsError when it is not set."""
    if settings.hosts is None:
        raise SettingsError("PSQL_HOST is not set; export it, or add --standalone")
    return parse_hosts(settings.hosts, settings.port)


def has_replicas(settings: PostgresSettings) -> bool:
    """Whether PSQL_HOST names more than one server."""
    return settings.hosts is not None and len(parse_configured_hosts(settings)) > 1


def connect(settings: PostgresSettings, role: Role) -> Connection:
    """A connection to the primary for commands, which wait as long as their work takes.

    It takes at most PSQL_CONNECT_TIMEOUT_S for each host.

    Raises: SettingsError when the role is not set up; DatabaseUnavailable when no host answers that will do.
    """
    hosts = parse_configured_hosts(settings)
    try:
        made: Connection = psycopg2.connect(
            host=",".join(host.name for host in hosts),
            port=",".join(str(host.port) for host in hosts),
            target_session_attrs="primary" if role == "reader" else "read-write",
            connect_timeout=settings.connect_timeout_s,
            **_parameters(settings, role, login_of(settings, role)),
        )
        return made
    except psycopg2.OperationalError as err:
        # one line for each host that was tried, and indented advice
        lines = [line for line in str(err).strip().splitlines() if not line[:1].isspace()]
        reason = "; ".join(lines if len(hosts) > 1 else lines[:1]) or "no reason given"
        raise DatabaseUnavailable(f"Postgres at {', '.join(map(str, hosts))}: {reason}") from err


def connect_bounded(
    settings: PostgresSettings,
    target_role: TargetRole = "primary",
    order: HostRanking | None = None,
    role: Role = "reader",
    *,
    login: Login | None = None,
    timeout_s: float | None = None,
) -> Connection:
    """A connection for requests: asynchronous, so that `wait` can give up on a server that falls silent.

    (A server's own `statement_timeout` is of no use when the server is stopped or out of reach.)

    want: what its server has to be. order: in which to try several, and told which failed. They share
    PSQL_CONNECT_TIMEOUT_S, and each is given a second at least. role: who connects; a reader can only read.
    login: of that role (default: that of the settings). timeout_s: seconds that a statement may take (default:
    PSQL_STATEMENT_TIMEOUT_S).

    Raises: SettingsError; DatabaseUnavailable naming every host; CredentialsRefused.
    """
    hosts = parse_configured_hosts(settings)
    share_s = max(1.0, settings.connect_timeout_s / len(hosts))
    order = order or HostRanking(shuffled=target_role == "replica")
    parameters = _parameters(settings, role, login or login_of(settings, role))
    begin = (_ONLY_READ + _BEGIN if role == "reader" else _BEGIN, timeout_s or settings.statement_timeout_s)
    reasons: list[str] = []
    let_in = False
    for host in order.of(hosts):
        try:
            connection, is_replica = _connect_to(host, parameters, begin, share_s)
        except (psycopg2.Error, TimeoutError) as err:
            reasons.append(f"{host}: {_reason(err)}")
        else:
            let_in = True
            if is_replica == (target_role == "replica"):
                return connection
            connection.close()
            reasons.append(f"{host} is {'a replica' if is_replica else 'the primary'}")
        order.failed(host)
    told = "; ".join(reasons)
    # one that lets them in is right: a replica may not have heard yet of a new user
    refused = not let_in and ("authentication failed" in told or "not exist" in told)
    missing = f"there is no {target_role} of Postgres:" if len(hosts) > 1 or target_role == "replica" else "Postgres at"
    raise (CredentialsRefused if refused else DatabaseUnavailable)(f"{missing} {told}")


def _connect_to(
    host: Host, parameters: dict[str, Any], begin: tuple[str, float], timeout_s: float
) -> tuple[Connection, bool]:
    """Return a connection, and whether its server is a replica.

    Args:
        host: The server.
        parameters: libpq's parameters.
        begin: What the session starts with, and the seconds that each of its statements may take.
        timeout_s: Seconds until the session has to be ready.
    """
    deadline = time.monotonic() + timeout_s
    script, statement_timeout_s = begin
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


def check_open(connection: Connection) -> None:
    """See whether the server has ended an asynchronous connection while nobody used it; this asks nothing of it.

    Raises: psycopg2's errors when it has.
    """
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    while poller.poll(0):
        connection.poll()  # takes what came: the reason first, then the end


def login_of(settings: PostgresSettings, role: Role) -> Login:
    """Return the login of a role.

    Raises:
        SettingsError: If no user is set for it.
    """
    login = {"reader": settings.reader, "posting": settings.poster, "admin": settings.admin}[role]
    if login is None:
        raise SettingsError(f"PSQL_{role.upper()}_USER is not set; export it and PSQL_{role.upper()}_PW")
    return login


def _parameters(settings: PostgresSettings, role: Role, login: Login) -> dict[str, Any]:
    return {
        "dbname": settings.database,
        "user": login.user,
        "password": login.password,
        "application_name": f"loaner {role}",
        # a network that is cut in the middle of an answer is noticed by no deadline of ours
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }


def _reason(err: Exception) -> str:
    """The first line of what went wrong, without the host, which is told beside it."""
    line = str(err).strip().partition("\n")[0] or "no reason given"
    return re.sub(r"^connection to server .*? failed: ", "", line)
