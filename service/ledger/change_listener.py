"""Hears from the primary which loans have new events. One thread, with a connection of its own outside the pool."""

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

CHANNEL = "loaner"  # as the posting function has it
ROUND_TRIP_S = 1.0
MIN_ROUND_TRIP_S = 0.05
ANSWER_S = 3.0  # a primary that does not answer for so long is asked for another connection
RETRY_S = 0.5

_SNAPSHOT = f"SELECT {CLUSTER_ID}, pg_snapshot_xmax(pg_current_snapshot())::text"


class ChangeListener:
    """Keeps `freshness` informed for as long as the process lives, and connects again whenever it has to.

    connector: makes connections to the primary. databases: have their connections made anew when another cluster than
    before is heard, before anything is cached under its name.
    """

    def __init__(self, freshness: Freshness, connector: Connector, databases: Iterable[ConnectionPool] = ()) -> None:
        self._freshness = freshness
        self._connector = connector
        self._databases = databases
        self._round_trip_s = max(MIN_ROUND_TRIP_S, min(ROUND_TRIP_S, freshness.max_staleness_s / 3))
        self._stopped = threading.Event()
        self._asked_at = 0.0
        self._is_down = False
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
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
                if not self._is_down:
                    unheard = "the primary is not heard; caches count for a while yet: %s"
                    log.warning(unheard, first_line(err), exc_info=None if expected else err)
                self._is_down = True
                self._stopped.wait(RETRY_S)

    def _subscribe(self, connection: Connection) -> None:
        _ask(connection, f"LISTEN {CHANNEL}")  # in autocommit, so that it counts before the snapshot is taken
        self._asked_at = self._freshness.now()
        cluster, xmax = _ask(connection, _SNAPSHOT)
        if cluster != self._freshness.cluster:
            if self._freshness.cluster is not None:
                log.warning("the primary is another cluster, %s: what was cached is dropped", cluster)
            for database in self._databases:
                database.recycle()
        self._freshness.on_listen(cluster, int(xmax), self._asked_at)
        self._dispatch(connection)
        metrics.listener_heard.set(time.time())
        if self._is_down:
            log.info("the primary is heard again")
            self._is_down = False

    def _poll(self, connection: Connection) -> None:
        self._wait_for_notifications(connection, self._asked_at + self._round_trip_s)
        if self._freshness.now() >= self._asked_at + self._round_trip_s:
            self._asked_at = self._freshness.now()
            _ask(connection, "SELECT 1")
            self._dispatch(connection)
            self._freshness.on_heartbeat(self._asked_at)
            metrics.listener_heard.set(time.time())

    def _wait_for_notifications(self, connection: Connection, until: float) -> None:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if poller.poll(max(0.0, until - self._freshness.now()) * 1000):
            self._dispatch(connection)

    def _dispatch(self, connection: Connection) -> None:
        connection.poll()  # what came along with the last answer is noticed only now
        notifications, connection.notifies[:] = list(connection.notifies), []
        for notification in notifications:
            loan, version, transaction = notification.payload.split()
            if loan == "*":
                self._freshness.on_bulk_change(int(transaction))
            else:
                self._freshness.on_change(int(loan), int(version), int(transaction))


def _ask(connection: Connection, sql: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        wait(connection, ANSWER_S)
        row = cursor.fetchone() if cursor.description else None
    return row or ()
