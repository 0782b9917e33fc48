"""Connects commands to the primary, and finds out what every host is."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Literal

import psycopg2
from psycopg2.extensions import connection as Connection

from service.errors import DatabaseUnavailable, SettingsError, first_line
from service.net.hosts import Host, parse_hosts
from service.postgres.server_identity import ServerIdentity
from service.postgres.session import Session, failure_reason, open_session
from service.postgres.wal_timelines import WalTimelines
from service.settings import Login, PostgresSettings

Role = Literal["reader", "posting", "admin"]


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

    Of several hosts, every one is queried first, so that a former primary is not mistaken for the primary. Each
    connection takes at most PSQL_CONNECT_TIMEOUT_S.

    Raises:
        SettingsError: If PSQL_HOST or the role's user is not set.
        DatabaseUnavailable: If no host is a primary that accepts the connection.
    """
    hosts = parse_configured_hosts(settings)
    login = login_for(settings, role)
    host = hosts[0] if len(hosts) == 1 else _find_primary(settings, role, login)
    try:
        connection: Connection = psycopg2.connect(
            host=host.name,
            port=host.port,
            target_session_attrs="primary" if role == "reader" else "read-write",
            connect_timeout=settings.connect_timeout_s,
            **parameters_for(settings, role, login),
        )
        return connection
    except psycopg2.OperationalError as err:
        raise DatabaseUnavailable(f"Postgres at {host}: {first_line(err) or 'no reason given'}") from err


def _find_primary(settings: PostgresSettings, role: Role, login: Login) -> Host:
    reasons = []
    for host, answer in survey(settings, role, WalTimelines(), login).items():
        if isinstance(answer, ServerIdentity) and not answer.is_replica:
            return host
        reasons.append(f"{host} is a replica" if isinstance(answer, ServerIdentity) else answer)
    raise DatabaseUnavailable(f"no Postgres primary found: {'; '.join(reasons)}")


def survey(
    settings: PostgresSettings, role: Role, timelines: WalTimelines, login: Login | None = None
) -> dict[Host, ServerIdentity | str]:
    """Find out what every host is, in parallel. Takes at most PSQL_CONNECT_TIMEOUT_S.

    Args:
        settings: The servers, and how to connect.
        role: Who connects.
        timelines: Records every answer, the highest WAL timeline first.
        login: The login of the role. The default is that of the settings.

    Returns:
        For each host in the order of PSQL_HOST, what it is, or a sentence that says why it cannot be used.

    Raises:
        SettingsError: If PSQL_HOST or the role's user is not set.
    """
    hosts = parse_configured_hosts(settings)
    parameters = parameters_for(settings, role, login or login_for(settings, role))

    def identify(host: Host) -> ServerIdentity | str:
        try:
            with closing(open_to(host, settings, role, parameters, settings.connect_timeout_s)) as session:
                return session.server
        except (psycopg2.Error, TimeoutError) as err:
            return f"{host}: {failure_reason(err)}"

    with ThreadPoolExecutor(len(hosts)) as threads:
        answers = dict(zip(hosts, threads.map(identify, hosts), strict=True))
    servers = [(host, answer) for host, answer in answers.items() if isinstance(answer, ServerIdentity)]
    for host, server in sorted(servers, key=lambda found: -found[1].wal_timeline):
        answers[host] = timelines.observe(str(host), server) or server
    return answers


def open_to(
    host: Host,
    settings: PostgresSettings,
    role: Role,
    parameters: dict[str, Any],
    timeout_s: float,
    statement_timeout_s: float | None = None,
) -> Session:
    """Open a session for a role on one host; see `open_session`."""
    return open_session(
        host,
        parameters,
        read_only=role == "reader",
        statement_timeout_s=statement_timeout_s or settings.statement_timeout_s,
        timeout_s=timeout_s,
    )


def login_for(settings: PostgresSettings, role: Role) -> Login:
    """Return the login for a role.

    Raises:
        SettingsError: If the role's user is not set.
    """
    login = {"reader": settings.reader, "posting": settings.poster, "admin": settings.admin}[role]
    if login is None:
        raise SettingsError(f"PSQL_{role.upper()}_USER is not set. Set it and PSQL_{role.upper()}_PW.")
    return login


def parameters_for(settings: PostgresSettings, role: Role, login: Login) -> dict[str, Any]:
    """Return libpq's parameters without the host."""
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
