"""From settings to a working application: the one place where everything is wired together."""

import logging
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from security.frameworks.flask import FlaskSecurity
from service.cache import TimelineLru, open_memcached
from service.domain.calendar import Calendar
from service.ledger.change_listener import ChangeListener
from service.ledger.freshness import Freshness
from service.ledger.posting import LedgerWriter
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.portfolio.sql import SqlPortfolio
from service.postgres.connect import Role, has_replicas
from service.postgres.connector import Connector
from service.postgres.credentials import CurrentCredentials
from service.postgres.pool import ConnectionPool
from service.settings import Settings
from service.tokens.client_registry import open_clients
from service.tokens.key_setup import open_issuer, open_keys
from service.tokens.throttle import AttemptThrottle
from service.web.app import create_app
from service.web.health import Health

log = logging.getLogger(__name__)

ATTEMPTS = "attempts"  # the database of failed attempts
DRAIN_FILE = "leaving"  # the file that says so


def build_lookup(settings: Settings) -> TimelineLookup:
    """Answers from Postgres, without the web and without caches."""
    freshness = Freshness(settings.max_staleness_s)
    return TimelineLookup(PostgresLedger(ConnectionPool(settings)), freshness)


def build_app(
    settings: Settings,
    shared: Path | None = None,
    credentials: Mapping[Role, CurrentCredentials] | None = None,
    listens: bool = False,
) -> Flask:
    """The application over Postgres, its caches and the key directory.

    shared: a folder for what this process shares with others: failed attempts at /token, and the sign to leave.
    credentials: who reads from Postgres, and who posts, as far as Vault says so. listens: whether to hear of new
    events, in a thread that goes on for as long as the process; without, nothing that is cached counts.

    A file of keys or clients that cannot be used is named in the log and left out: a start has looked at them before,
    and a worker that is replaced later must not fail where those that run go on.

    Raises: SettingsError.
    """
    keys = open_keys(settings, strict=False)
    if not settings.secure_loans:
        log.warning("SECURE_LOANS=false: loan routes are open to everybody")
    reader, poster = (credentials or {}).get("reader"), (credentials or {}).get("posting")
    primary = ConnectionPool(settings, reader)
    replica = ConnectionPool(settings, reader, target_role="replica") if has_replicas(settings) else None
    freshness = Freshness(settings.max_staleness_s)
    memcached = open_memcached(settings)
    recent = TimelineLru(settings.cache_bytes)
    lookup = TimelineLookup(
        PostgresLedger(primary),
        freshness,
        caches=(recent, memcached) if memcached else (recent,),
        replica=PostgresLedger(replica, strict=True) if replica else None,
    )
    if listens and settings.max_staleness_s:
        databases = [database for database in (primary, replica) if database]
        ChangeListener(freshness, Connector(settings, reader), databases).start()
    may_post = poster is not None or settings.psql_posting_user is not None
    posting = ConnectionPool(settings, poster, role="posting") if may_post else None
    reports = settings.model_copy(
        update={"psql_pool_size": 1, "psql_statement_timeout_s": settings.psql_report_timeout_s}
    )
    issuer = open_issuer(settings, keys)
    issuer.can_sign()  # so that the key is known as it is now, whatever becomes of its file
    return create_app(
        lookup=lookup,
        calendar=Calendar(settings.timezone),
        security=FlaskSecurity(key_store=keys).jwt().oauth2().build(),
        health=Health(primary, freshness, memcached, shared and shared / DRAIN_FILE),
        issuer=issuer,
        clients=open_clients(settings, strict=False),
        attempts=AttemptThrottle(shared and shared / ATTEMPTS),
        portfolio=SqlPortfolio(ConnectionPool(reports, reader)),
        poster=LedgerWriter(posting) if posting else None,
        secure_loans=settings.secure_loans,
        trusted_proxies=settings.trusted_proxies,
    )
