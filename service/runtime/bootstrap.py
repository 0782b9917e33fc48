"""From settings to a working application: the one place where everything is wired together."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from flask import Flask

from security.frameworks.flask import FlaskSecurity
from service.cache import TimelineLru, open_memcached
from service.domain.calendar import Calendar
from service.ledger.change_listener import ChangeListener
from service.ledger.event_log import EventLog
from service.ledger.freshness import Freshness
from service.ledger.loan_search import LoanSearch
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
    freshness = Freshness(settings.cache.max_staleness_s)
    return TimelineLookup(PostgresLedger(ConnectionPool(settings.postgres)), freshness)


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
    database, tokens = settings.postgres, settings.tokens
    keys = open_keys(tokens, strict=False)
    if not tokens.secure_loans:
        log.warning("SECURE_LOANS=false: loan routes are open to everybody")
    reader, poster = (credentials or {}).get("reader"), (credentials or {}).get("posting")
    primary = ConnectionPool(database, reader)
    replica = ConnectionPool(database, reader, target_role="replica") if has_replicas(database) else None
    freshness = Freshness(settings.cache.max_staleness_s)
    memcached = open_memcached(settings.memcached, settings.server.threads)
    recent = TimelineLru(settings.cache.size_bytes)
    lookup = TimelineLookup(
        PostgresLedger(primary),
        freshness,
        caches=(recent, memcached) if memcached else (recent,),
        replica=PostgresLedger(replica, strict=True) if replica else None,
    )
    if listens and settings.cache.max_staleness_s:
        ChangeListener(freshness, Connector(database, reader), [pool for pool in (primary, replica) if pool]).start()
    may_post = poster is not None or database.poster is not None
    posting = ConnectionPool(database, poster, role="posting") if may_post else None
    reports = replace(database.pool, size=1, timeout_s=database.report_timeout_s)
    issuer = open_issuer(tokens, settings.service.name, keys)
    issuer.can_sign()  # so that the key is known as it is now, whatever becomes of its file
    return create_app(
        lookup=lookup,
        calendar=Calendar(settings.server.timezone),
        security=FlaskSecurity(key_store=keys).jwt().oauth2().build(),
        health=Health(primary, freshness, memcached, shared and shared / DRAIN_FILE),
        issuer=issuer,
        clients=open_clients(tokens, strict=False),
        attempts=AttemptThrottle(shared and shared / ATTEMPTS),
        portfolio=SqlPortfolio(ConnectionPool(database, reader, pool=reports)),
        event_log=EventLog(primary),
        search=LoanSearch(primary),
        poster=LedgerWriter(posting, settings.ledger.max_future_days) if posting else None,
        secure_loans=tokens.secure_loans,
        trusted_proxies=settings.server.trusted_proxies,
    )
