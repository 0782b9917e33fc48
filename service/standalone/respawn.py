"""Starts the embedded PostgreSQL again when it ends while the service runs, and ends the run if that does not help."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg2

from service.standalone.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5
MAX_RESTARTS = 3  # within RESTARTS_WITHIN_S; one more end points to a cause that a restart does not remove
RESTARTS_WITHIN_S = 60.0


@contextmanager
def respawned(postgres: EmbeddedPostgres, starting: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Start PostgreSQL again whenever it ends within the block.

    If it cannot be started, or keeps ending, this process is interrupted as by Ctrl-C.

    Args:
        postgres: The server, which runs.
        starting: Returns a lock that processes hold while they start or stop the server.

    Raises:
        EmbeddedPostgresError: At the end of the block, if PostgreSQL does not run any longer.
    """
    guard = _Guard(postgres, starting)
    guard.start()
    try:
        yield
    finally:
        guard.stop()
        if guard.failure is not None:
            raise guard.failure from None


class _Guard:
    def __init__(self, postgres: EmbeddedPostgres, starting: Callable[[], AbstractContextManager[None]]) -> None:
        self._postgres = postgres
        self._starting = starting
        self._port = postgres.port  # that of the connections of the service
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="respawn-postgres", daemon=True)
        self.failure: EmbeddedPostgresError | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(CHECK_INTERVAL_S):
                if not self._postgres.is_listening():
                    self._restart()
        except EmbeddedPostgresError as err:
            self.failure = err
        except (OSError, subprocess.SubprocessError, psycopg2.Error) as err:
            self.failure = EmbeddedPostgresError(f"PostgreSQL has ended and cannot be started again: {err}")
        if self.failure is not None:
            log.error("stopping: PostgreSQL does not run any longer")
            os.kill(os.getpid(), signal.SIGINT)

    def _restart(self) -> None:
        now = time.monotonic()
        if len(self._restarts) == MAX_RESTARTS and now - self._restarts[0] < RESTARTS_WITHIN_S:
            raise EmbeddedPostgresError(
                f"PostgreSQL ended {MAX_RESTARTS + 1} times within {RESTARTS_WITHIN_S:.0f} s; "
                f"its log ends with:\n{self._postgres.log_end()}"
            )
        self._restarts.append(now)
        log.warning("PostgreSQL has ended; starting it again")
        with self._starting():
            self._postgres.start_again()
        if self._postgres.port != self._port:
            raise EmbeddedPostgresError(
                f"PostgreSQL now listens on port {self._postgres.port}, because another program uses its former port "
                f"{self._port}; start the service again"
            )
        log.info("PostgreSQL runs again")
