"""Wires the parts of the application together."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from security.frameworks.flask import FlaskSecurity
from security.providers.remembered import remembered_identities
from service.cache import TimelineLru, open_memcached
from service.domain.calendar import Calendar
from service.gateway.identity import Identity
from service.ledger.agreement_log import AgreementLog
from service.ledger.agreement_posting import AgreementWriter
from service.ledger.change_listener import ChangeListener
from service.ledger.event_log import EventLog
from service.ledger.freshness import Freshness
from service.ledger.loan_search import LoanSearch
from service.ledger.posting import LedgerWriter
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.observability.request_log import RequestLog
from service.observability.request_marks import note_rejection
from service.observability.untraced import Tracing
from service.portfolio.book import Book
from service.portfolio.sql import SqlPortfolio
from service.postgres.connect import Role, has_replicas
from service.postgres.connector import Connector
from service.postgres.credentials import CurrentCredentials
from service.postgres.pool import ConnectionPool
from service.postgres.wal_timelines import WalTimelines
from service.runtime.run_directory import read_instance_id
from service.settings import PROCESSORS, Settings
from service.tokens.client_registry import open_clients
from service.tokens.key_setup import open_issuer, open_keys
from service.tokens.shared_secrets import SharedSecrets
from service.tokens.throttle import AttemptThrottle
from service.web.app import MAX_BODY_BYTES, create_app
from service.web.door.body import BodyLimits, BodyReader
from service.web.door.bounded_pool import BoundedPool
from service.web.door.forwarding import TrustedProxies
from service.web.door.plain_balance import PlainBalances
from service.web.door.received_ids import ReceivedIds
from service.web.door.wsgi_bridge import WsgiBridge
from service.web.front_door import FrontDoor, Pools
from service.web.health import Health
from service.web.page.errors import to_page_outside
from service.web.traced_door import TracedFrontDoor, TracedRequestLog

log = logging.getLogger(__name__)

ATTEMPTS_FILE = "attempts"  # in the run directory: the throttle's database
DRAIN_FILE = "draining"  # in the run directory: exists once this instance drains
HELD_BODY_BYTES = 16 * MAX_BODY_BYTES  # of all bodies that a worker holds at a time
TOKEN_QUEUE_SIZE = 32  # requests for tokens that wait while another one's secret is checked
PROBE_QUEUE_SIZE = 16
WAL_TIMELINES_FILE = "wal-timelines"  # in the run directory: the highest WAL timeline that any process has seen


def build_lookup(settings: Settings) -> TimelineLookup:
    """Build a lookup that reads from Postgres without caches, for use outside the web application."""
    freshness = Freshness(settings.cache.max_staleness_s)
    return TimelineLookup(PostgresLedger(ConnectionPool(settings.postgres)), freshness)


def build_front_door(
    settings: Settings,
    run_directory: Path | None = None,
    credentials: Mapping[Role, CurrentCredentials] | None = None,
    listen: bool = False,
    tracing: Tracing | None = None,
) -> FrontDoor:
    """Build the application of one process, with Postgres, its caches and the key directory.

    An unusable key or client file is logged and skipped: the start has already checked all files, and a replacement
    worker must not fail while the others keep serving.

    Args:
        settings: The settings of this process.
        run_directory: A directory that the processes of this service share, for failed attempts at /token, the
            drain file and the highest WAL timeline.
        credentials: Credentials from Vault, by role. Other roles use the logins in the settings.
        listen: Whether to listen for new events, and to write the request log, in background threads for as long as
            the process runs. Without it, nothing is served from a cache.
        tracing: Records spans. By default none are.

    Raises:
        SettingsError: If a part cannot be set up.
    """
    database, tokens = settings.postgres, settings.tokens
    tracing = tracing or Tracing()
    keys = open_keys(tokens, strict=False)
    if not tokens.secure_loans:
        log.warning("SECURE_LOANS=false: anyone can read loans without a token")
    reader, poster = (credentials or {}).get("reader"), (credentials or {}).get("posting")
    timelines = WalTimelines(run_directory and run_directory / WAL_TIMELINES_FILE)

    def open_pool(name: str, login: CurrentCredentials | None, **options: Any) -> ConnectionPool:
        pool = ConnectionPool(database, login, timelines=timelines, **options)
        return tracing.traced(pool, "database", loaner_pool=name, db_namespace=database.database)

    primary = open_pool("primary", reader)
    replica = open_pool("replica", reader, target_role="replica") if has_replicas(database) else None
    freshness = Freshness(settings.cache.max_staleness_s)
    memcached = open_memcached(settings.memcached, settings.server.threads)
    recent = TimelineLru(settings.cache.size_bytes)
    lookup = TimelineLookup(
        PostgresLedger(primary),
        freshness,
        caches=(recent, tracing.traced(memcached, "cache")) if memcached else (recent,),
        replica=PostgresLedger(replica, strict=True) if replica else None,
    )
    lookup = tracing.traced(lookup, "lookup")
    if listen and settings.cache.max_staleness_s:
        listens_to = Connector(database, reader, timelines=timelines)
        ChangeListener(freshness, listens_to, [pool for pool in (primary, replica) if pool]).start()
    may_post = poster is not None or database.poster is not None
    posting = open_pool("posting", poster, role="posting") if may_post else None
    ledger_writer = LedgerWriter(posting, settings.ledger.max_future_days) if posting else None
    bounds = replace(database.pool, size=1, timeout_s=database.report_timeout_s)
    reports = open_pool("reports", reader, pool=bounds)
    issuer = open_issuer(tokens, settings.service.name, keys)
    issuer.can_sign()  # loads the signing key now, so that a file that breaks later cannot take it away
    server = settings.server
    hashing_threads = max(1, PROCESSORS // server.workers)  # all workers together use each processor once
    security = FlaskSecurity(key_store=keys).jwt().oauth2().build()
    security.security_chain.on_rejected_token = note_rejection
    app = create_app(
        lookup=lookup,
        calendar=Calendar(settings.server.timezone),
        security=security,
        health=Health(primary, freshness, timelines, memcached, run_directory and run_directory / DRAIN_FILE),
        issuer=issuer,
        clients=open_clients(tokens, strict=False, hashing_threads=hashing_threads),
        attempts=AttemptThrottle(run_directory and run_directory / ATTEMPTS_FILE),
        portfolio=SqlPortfolio(reports),
        book=Book(reports),
        event_log=EventLog(primary),
        agreement_log=AgreementLog(primary),
        search=LoanSearch(primary),
        identity=Identity(
            settings.service.name, SharedSecrets(keys), read_instance_id(run_directory) if run_directory else ""
        ),
        poster=tracing.traced(ledger_writer, "posting") if ledger_writer else None,
        agreement_poster=tracing.traced(AgreementWriter(posting), "agreements") if posting else None,
        secure_loans=tokens.secure_loans,
        serves_page=server.page,
    )
    from service.runtime.gateway_setup import request_id_header  # commands start faster without

    requests = TracedRequestLog(tracing) if tracing.is_on else RequestLog()
    if listen:
        requests.start()
    limits = BodyLimits(MAX_BODY_BYTES, HELD_BODY_BYTES, server.body_timeout_s, server.silence_timeout_s)
    open_door = partial(TracedFrontDoor, tracing=tracing) if tracing.is_on else FrontDoor
    return open_door(
        WsgiBridge(app),
        PlainBalances(lookup, remembered_identities(security.security_chain) if tokens.secure_loans else None),
        TrustedProxies(server.trusted_proxies),
        BodyReader(limits),
        Pools(
            general=BoundedPool("flask", server.threads, server.queue_size),
            tokens=BoundedPool("tokens", hashing_threads, TOKEN_QUEUE_SIZE),
            probes=BoundedPool("probes", 1, PROBE_QUEUE_SIZE),
        ),
        requests,
        ReceivedIds(request_id_header(settings), tracing.outgoing_headers),
        partial(to_page_outside, app) if server.page else None,
    )
