"""Receives notifications of new events from the primary, in one thread with a connection outside the pools."""

import logging
import select
import threading
import time
from collections.abc import Iterable
from contextlib import closing

import psycopg2

from service.errors import LoanerError, first_line
from service.ledger.freshness import Freshness
from service.observability import metrics
from service.postgres.connector import Connector
from service.postgres.pool import ConnectionPool
from service.postgres.server_identity import CLUSTER_ID
from service.postgres.session import Session, query
from service.postgres.session_check import SessionCheck, SessionNotKept

log = logging.getLogger(__name__)

CHANNEL = "loaner"  # the SQL function post_events notifies the same channel
ROUND_TRIP_INTERVAL_S = 1.0
MIN_ROUND_TRIP_INTERVAL_S = 0.05
RESPONSE_TIMEOUT_S = 3.0  # a primary that exceeds it gets a new connection
RETRY_DELAY_S = 0.5
POOLER_RETRY_DELAY_S = 5.0  # a pooler's mode changes only by hand

_SNAPSHOT = f"SELECT {CLUSTER_ID}, pg_snapshot_xmax(pg_current_snapshot())::text"


class ChangeListener:
    """Feeds notifications and round trips to `freshness` and reconnects after every failure.

    Args:
        freshness: Receives what the primary sends.
        connector: Opens connections to the primary.
        pools: Recycled when the primary turns out to be another cluster, before anything is cached under its name.
    """

    def __init__(self, freshness: Freshness, connector: Connector, pools: Iterable[ConnectionPool] = ()) -> None:
        self._freshness = freshness
        self._connector = connector
        self._pools = pools
        self._interval_s = max(MIN_ROUND_TRIP_INTERVAL_S, min(ROUND_TRIP_INTERVAL_S, freshness.max_staleness_s / 3))
        self._stopped = threading.Event()
        self._round_trip_start = 0.0
        self._reported: str | None = None  # why the listener is not connected, once that is logged
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except SessionNotKept as err:
                self._report(err, "pooled")
                self._freshness.distrust(str(err))
                self._stopped.wait(POOLER_RETRY_DELAY_S)
            except Exception as err:
                self._report(err, "lost")
                self._stopped.wait(RETRY_DELAY_S)

    def _listen(self) -> None:
        """Listen until the thread has to stop or the connection has to be replaced."""
        generation = self._connector.generation
        with closing(self._connector.connect()) as session:
            query(session, f"LISTEN {CHANNEL}", RESPONSE_TIMEOUT_S)  # committed before the snapshot is taken
            with closing(SessionCheck(session, CHANNEL, self._connector.connect)) as check:
                check.run()
                self._take_snapshot(session)
                while not self._stopped.is_set() and self._connector.generation == generation:
                    self._poll(session, check)
            if self._connector.is_superseded(session):
                self._freshness.distrust()

    def _report(self, err: Exception, reason: str) -> None:
        metrics.listener_failures.labels(reason).inc()
        if self._reported == reason:
            return
        self._reported = reason
        if reason == "pooled":
            log.error("nothing cached is used: %s", err)
            return
        expected = isinstance(err, LoanerError | psycopg2.Error | OSError | ValueError)
        log.warning(
            "no connection to the primary; cached balances remain valid for at most MAX_STALENESS_S: %s",
            first_line(err),
            exc_info=None if expected else err,
        )

    def _take_snapshot(self, session: Session) -> None:
        self._round_trip_start = self._freshness.now()
        cluster, xmax = query(session, _SNAPSHOT, RESPONSE_TIMEOUT_S)
        if cluster != self._freshness.cluster:
            if self._freshness.cluster is not None:
                log.warning("the primary belongs to another cluster, %s; cached timelines are no longer used", cluster)
            for pool in self._pools:
                pool.recycle()
        self._freshness.on_listen(cluster, int(xmax), self._round_trip_start)
        self._dispatch(session)
        metrics.listener_heard.set(time.time())
        if self._reported is not None:
            log.info("reconnected to the primary")
            self._reported = None

    def _poll(self, session: Session, check: SessionCheck) -> None:
        self._wait_for_notifications(session, self._round_trip_start + self._interval_s)
        if self._freshness.now() >= self._round_trip_start + self._interval_s:
            self._round_trip_start = self._freshness.now()
            check.run()
            self._dispatch(session)
            self._freshness.on_heartbeat(self._round_trip_start)
            metrics.listener_heard.set(time.time())

    def _wait_for_notifications(self, session: Session, until: float) -> None:
        poller = select.poll()
        poller.register(session.fileno(), select.POLLIN)
        if poller.poll(max(0.0, until - self._freshness.now()) * 1000):
            self._dispatch(session)

    def _dispatch(self, session: Session) -> None:
        session.poll()  # psycopg2 parses notifications that arrived with the last response only here
        notifications, session.notifies[:] = list(session.notifies), []
        for notification in notifications:
            loan, version, transaction = notification.payload.split()
            if loan == "*":
                self._freshness.on_bulk_change(int(transaction))
            else:
                self._freshness.on_change(int(loan), int(version), int(transaction))
