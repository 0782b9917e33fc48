"""Stops a worker when its parent orders it, without dropping requests."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

STOP_FILE = "stopping"  # in the run directory: workers may stop
RELOAD_FILE = "reloading"  # in the run directory: workers older than the file may stop
STOP_TIMEOUT_S = 15  # requests in progress may take this long when a worker stops


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
        self._is_serving = threading.Event()
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
        self._is_serving.set()

    def _run(self) -> None:
        signal.sigwait({signal.SIGTERM})
        while not self._may_stop():
            signal.sigwait({signal.SIGTERM})
        if not self._is_serving.is_set():
            os._exit(0)
        self._loop.call_soon_threadsafe(self._stop)

    def _may_stop(self) -> bool:
        is_orphan = self._parent is None or not self._parent.is_alive() or not self._run_directory.exists()
        if is_orphan or (self._run_directory / STOP_FILE).exists():
            return True
        reload_file = self._run_directory / RELOAD_FILE
        return reload_file.exists() and reload_file.stat().st_mtime > self._started

    def _stop(self) -> None:
        """Signal the server, in the loop's thread: the loop hears of a signal only if this thread accepts it.

        The server blocks if it receives three signals.
        """
        self._loop.call_later(STOP_TIMEOUT_S, self._give_up)
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
