"""Finds a server of the right role for a request, in bounded time."""

from typing import Literal

import psycopg2

from service.errors import CredentialsRefused, DatabaseUnavailable
from service.net.hosts import Host
from service.postgres.connect import Role, login_for, open_to, parameters_for, parse_configured_hosts
from service.postgres.host_ranking import HostRanking
from service.postgres.server_identity import ServerIdentity
from service.postgres.session import Session, failure_reason
from service.postgres.wal_timelines import WalTimelines
from service.settings import Login, PostgresSettings

TargetRole = Literal["primary", "replica"]


def connect_with_timeout(
    settings: PostgresSettings,
    target_role: TargetRole = "primary",
    ranking: HostRanking | None = None,
    role: Role = "reader",
    *,
    login: Login | None = None,
    statement_timeout_s: float | None = None,
    timelines: WalTimelines | None = None,
) -> Session:
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
        timelines: Knows the highest WAL timeline; learns those of the servers.

    Raises:
        SettingsError: If PSQL_HOST or the role's user is not set.
        CredentialsRefused: If every host that responds rejects the login.
        DatabaseUnavailable: If no host qualifies. The message names each host and its failure.
    """
    hosts = parse_configured_hosts(settings)
    share_s = max(1.0, settings.connect_timeout_s / len(hosts))
    ranking = ranking or HostRanking(shuffled=target_role == "replica")
    timelines = timelines or WalTimelines()
    parameters = parameters_for(settings, role, login or login_for(settings, role))
    reasons: list[str] = []
    authenticated = False
    for host in ranking.ranked(hosts):
        try:
            session = open_to(host, settings, role, parameters, share_s, statement_timeout_s)
        except (psycopg2.Error, TimeoutError) as err:
            reasons.append(f"{host}: {failure_reason(err)}")
        else:
            authenticated = True
            rejection = timelines.observe(str(host), session.server) or _wrong_role(host, session.server, target_role)
            if rejection is None:
                return session
            session.close()
            reasons.append(rejection)
        ranking.report_failure(host)
    details = "; ".join(reasons)
    # One server that accepts the login proves it valid: a replica may lag behind the creation of a user.
    rejected = not authenticated and ("authentication failed" in details or "not exist" in details)
    summary = f"no Postgres {target_role} found:" if len(hosts) > 1 or target_role == "replica" else "Postgres at"
    raise (CredentialsRefused if rejected else DatabaseUnavailable)(f"{summary} {details}")


def _wrong_role(host: Host, server: ServerIdentity, target_role: TargetRole) -> str | None:
    if server.is_replica == (target_role == "replica"):
        return None
    return f"{host} is {'a replica' if server.is_replica else 'the primary'}"
