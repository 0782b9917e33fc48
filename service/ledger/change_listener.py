"""Receives notifications of new events from the primary, in one thread with a connection outside the pools."""

import logging
import select
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from service.errors import LoanerError, first_line
from service.ledger.freshness import Freshness
from service.observability import metrics
from service.postgres.connect import CLUSTER_ID, wait
from service.postgres.connector import Connector
from service.postgres.pool import ConnectionPool

log = logging.getLogger(__name__)

CHANNEL = "loaner"  # the SQL function post_events notifies the same channel
ROUND_TRIP_INTERVAL_S = 1.0
MIN_ROUND_TRIP_INTERVAL_S = 0.05
RESPONSE_TIMEOUT_S = 3.0  # a primary that exceeds it gets a new connection
RETRY_DELAY_S = 0.5

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
        self._is_disconnected = False
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
                generation = self._connector.generation
                with closing(self._connector.connect()) as connection:
                    self._subscribe(connection)
                    while not self._stopped.is_set() and self._connector.generation == generation:
                        self._poll(connection)
            except Exception as err:
                expected = isinstance(err, LoanerError | psycopg2.Error | OSError | ValueError)
                if not self._is_disconnected:
                    log.warning(
                        "no connection to the primary; cached balances remain valid for at most MAX_STALENESS_S: %s",
                        first_line(err),
                        exc_info=None if expected else err,
                    )
                self._is_disconnected = True
                self._stopped.wait(RETRY_DELAY_S)

    def _subscribe(self, connection: Connection) -> None:
        _query(connection, f"LISTEN {CHANNEL}")  # autocommit: LISTEN must be committed before the snapshot is taken
        self._round_trip_start = self._freshness.now()
        cluster, xmax = _query(connection, _SNAPSHOT)
        if cluster != self._freshness.cluster:
            if self._freshness.cluster is not None:
                log.warning("the primary belongs to another cluster, %s; cached timelines are no longer used", cluster)
            for pool in self._pools:
                pool.recycle()
        self._freshness.on_listen(cluster, int(xmax), self._round_trip_start)
        self._dispatch(connection)
        metrics.listener_heard.set(time.time())
        if self._is_disconnected:
            log.info("reconnected to the primary")
            self._is_disconnected = False

    def _poll(self, connection: Connection) -> None:
        self._wait_for_notifications(connection, self._round_trip_start + self._interval_s)
        if self._freshness.now() >= self._round_trip_start + self._interval_s:
            self._round_trip_start = self._freshness.now()
            _query(connection, "SELECT 1")
            self._dispatch(connection)
            self._freshness.on_heartbeat(self._round_trip_start)
            metrics.listener_heard.set(time.time())

    def _wait_for_notifications(self, connection: Connection, until: float) -> None:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if poller.poll(max(0.0, until - self._freshness.now()) * 1000):
            self._dispatch(connection)

    def _dispatch(self, connection: Connection) -> None:
        connection.poll()  # psycopg2 parses notifications that arrived with the last response only here
        notifications, connection.notifies[:] = list(connection.notifies), []
        for notification in notifications:
            loan, version, transaction = notification.payload.split()
            if loan == "*":
                self._freshness.on_bulk_change(int(transaction))
            else:
                self._freshness.on_change(int(loan), int(version), int(transaction))


def _query(connection: Connection, sql: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        wait(connection, RESPONSE_TIMEOUT_S)
        row = cursor.fetchone() if cursor.description else None
    return row or ()
