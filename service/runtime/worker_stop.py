"""Stops a worker when its parent orders it, without dropping requests."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import util
from pathlib import Path

log = logging.getLogger(__name__)

STOP_FILE = "stopping"  # in the run directory: workers may stop
RELOAD_FILE = "reloading"  # in the run directory: workers older than the file may stop
SERVING_FILE = "serving"  # in the run directory: as old as the last start of a worker
STOP_TIMEOUT_S = 15  # requests in progress may take this long when a worker stops
SUCCESSOR_TIMEOUT_S = 10  # part of STOP_TIMEOUT_S: a new worker that needs longer to start is not waited for
POLL_S = 0.05


class WorkerStop:
    """Passes the first signal that counts to the server, exactly once.

    Ctrl-C in a terminal, or a service manager, signals every process. The parent signals its workers as well, but only
    after it has left the gateway; until then requests still arrive, so earlier signals are ignored.

    Args:
        loop: The server's event loop, which runs in the main thread.
        run_directory: The directory in which the parent announces what workers should do.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, run_directory: Path) -> None:
        self._loop = loop
        self._run_directory = run_directory
        self._is_loaded = threading.Event()
        self._serving_since = 0.0
        self._parent = multiprocessing.parent_process()
        self._started = time.time()

    def watch(self) -> None:
        """Take over the signals of this process. Call this before any other thread starts."""
        # Threads inherit the mask, including the server's own, so that only _run receives these signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        threading.Thread(target=self._run, name="stop", daemon=True).start()
        threading.Thread(target=self._stop_after_parent, name="stop-after-parent", daemon=True).start()

    def begin_serving(self) -> None:
        """Let requests in progress finish from now on. Until then, the process exits immediately."""
        self._is_loaded.set()
        self._loop.call_soon(self._announce)  # the server accepts connections before it runs the loop

    def _announce(self) -> None:
        with suppress(OSError):  # a cleanup job may have removed the directory
            (self._run_directory / SERVING_FILE).touch()
            self._serving_since = self._modified(SERVING_FILE)

    def _run(self) -> None:
        signal.sigwait({signal.SIGTERM})
        while not (self._is_stopping() or self._modified(RELOAD_FILE) > self._started):
            signal.sigwait({signal.SIGTERM})
        if not self._is_loaded.is_set():
            os._exit(0)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        self._wait_for_successor()
        self._loop.call_soon_threadsafe(self._stop, deadline)

    def _is_stopping(self) -> bool:
        is_orphan = self._parent is None or not self._parent.is_alive() or not self._run_directory.exists()
        return is_orphan or (self._run_directory / STOP_FILE).exists()

    def _wait_for_successor(self) -> None:
        # The parent assumes that a new worker serves after a few seconds. On a busy machine it may take longer.
        deadline = time.monotonic() + SUCCESSOR_TIMEOUT_S
        while not self._is_stopping() and self._modified(SERVING_FILE) <= self._serving_since:
            if time.monotonic() > deadline:
                log.warning("no new worker serves after %d s; connections may be refused", SUCCESSOR_TIMEOUT_S)
                break
            time.sleep(POLL_S)

    def _modified(self, file: str) -> float:
        try:
            return (self._run_directory / file).stat().st_mtime
        except OSError:
            return 0.0

    def _stop(self, deadline: float) -> None:
        """Signal the server, in the loop's thread: the loop hears of a signal only if this thread accepts it.

        The server blocks if it receives three signals.
        """
        # Called before the threads of pools are joined: callbacks that are registered last are called first.
        threading._register_atexit(_end_without_threads)  # type: ignore[attr-defined]
        self._loop.call_later(deadline - time.monotonic(), self._give_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.raise_signal(signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _give_up(self) -> None:
        log.warning("closing connections that are still in use %d s after the stop began", STOP_TIMEOUT_S)
        sys.exit(0)  # ends the loop; what is buffered is still written

    def _stop_after_parent(self) -> None:
        # A killed parent cannot stop its workers, and surviving workers would hold the port of its successor.
        if self._parent is not None:
            self._parent.join()
            os.kill(os.getpid(), signal.SIGTERM)


def _end_without_threads() -> None:
    """Run the exit handlers, and end this process without waiting for threads that work for clients that have left.

    Until Python 3.12, the handlers have run by now. Later releases would run them only after joining the threads.
    """
    util._exit_function()  # type: ignore[attr-defined]
    os._exit(0)
