"""Concurrent clients that read balances and post events until they are stopped."""

import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

import psycopg2
from psycopg2.extensions import connection as Connection

from service.errors import DatabaseUnavailable
from service.postgres.connect import connect
from service.settings import PostgresSettings
from tests.models.shadow_ledger import FAR_AHEAD, Event, Reply, ShadowLedger

TIMEOUT_S = 30  # far more than any reply may take
SHARED_CONNECTION = 25  # requests on one connection, and so to one worker
RETRY_S = 0.05
# A reader's wait between two requests. `make soak` sends as many as the machine can answer; beside other tests, readers
# leave time for them.
PAUSE_S = 0.0 if "LOANER_SOAK_S" in os.environ else 0.01
PATHS = ("/api/v1/loan/{}/{}", "/{}/{}")


class LoadClients:
    """Threads that read and post.

    Args:
        books: The shadow ledger that replies are compared with.
        origins: Base URLs of the services.
        headers: Headers that authorize requests.
        pick: Returns the loan of the next request.
    """

    def __init__(
        self, books: ShadowLedger, origins: list[str], headers: dict[str, str], pick: Callable[[], int]
    ) -> None:
        self.books = books
        self.origins = origins
        self.headers = headers
        self.pick = pick
        self.phase = "at first"
        self.replies: list[Reply] = []
        self.broken: list[str] = []

    @contextmanager
    def at_work(self, *work: Callable[[], None]):
        """Repeat each of these functions in a thread until the end of the block."""
        stop = threading.Event()

        def go_on(each: Callable[[], None]) -> None:
            try:
                while not stop.is_set():
                    each()
            except Exception as err:
                self.broken.append(f"{self.phase}: {each}: {err!r}")

        threads = [threading.Thread(target=go_on, args=(each,)) for each in work]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def read(self) -> None:
        """Send some requests to one of the services."""
        with self.connection(random.choice(self.origins)) as connection:
            for _ in range(SHARED_CONNECTION):
                self.ask(connection, self.pick())
                time.sleep(PAUSE_S)

    @contextmanager
    def connection(self, origin: str):
        """Open a connection to a service."""
        connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=TIMEOUT_S)
        with closing(connection):
            yield connection

    def ask(self, connection: http.client.HTTPConnection, loan: int, min_version: int = 0) -> Reply:
        """Request a loan's final balance and record the reply."""
        path = random.choice(PATHS).format(loan, FAR_AHEAD) + (f"?min_version={min_version}" if min_version else "")
        phase, asked, wall = self.phase, time.monotonic(), time.time()
        connection.request("GET", path, headers=self.headers)
        with connection.getresponse() as got:
            content = got.read()
            took = time.monotonic() - asked
            if got.status == 200:
                body = json.loads(content)
                as_of = datetime.fromisoformat(got.headers["As-Of"]).timestamp()
                balance, version = Decimal(body["balance"]), body["version"]
                reply = Reply(phase, loan, asked, wall, took, 200, version, balance, as_of, min_version)
            else:
                again = got.headers.get("Retry-After")
                reply = Reply(phase, loan, asked, wall, took, got.status, min_version=min_version, retry_after=again)
        self.replies.append(reply)
        return reply

    def faults(self) -> list[str]:
        """Return all errors of the clients and all wrong replies."""
        return [*self.broken, *self.books.faults(self.replies)]

    def refusals(self) -> Counter[tuple[str, int]]:
        """Return the number of error replies by phase and status."""
        return Counter((reply.phase, reply.status) for reply in self.replies if reply.status != 200)


def any_event(loan: int) -> Event:
    """Return a random event of a loan."""
    day = f"20{random.randrange(20, 30)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}"
    return Event(loan, random.choice(("fee", "interest", "payment")), day, Decimal(random.randrange(1, 10_000)) / 100)


class Poster:
    """Posts batches to loans that have no other writer, and resumes when a server is available again.

    Args:
        books: The shadow ledger that records what was posted.
        settings: Settings that reach the servers.
        batch: Returns the next batch.
    """

    def __init__(self, books: ShadowLedger, settings: PostgresSettings, batch: Callable[[], list[Event]]) -> None:
        self._books = books
        self._settings = settings
        self._batch = batch
        self._connection: Connection | None = None
        self._in_doubt: set[int] = set()

    def post(self) -> None:
        """Post one batch; after a failure, first find out whether the last one was committed."""
        try:
            if self._connection is None:
                self._connection = connect(self._settings, "posting")
                self._books.settle(self._connection, self._in_doubt)
            events = self._batch()
            self._in_doubt = {event.loan for event in events}
            with self._books.posting(self._connection, events):
                pass
        except (psycopg2.Error, DatabaseUnavailable):
            self.close()
        time.sleep(RETRY_S)

    def close(self) -> None:
        """Close the connection if one is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
