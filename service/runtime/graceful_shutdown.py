"""Stops the service, or replaces its workers, without failing requests."""

import logging
import signal
import threading
import time
from pathlib import Path
from typing import Any

from service.gateway.instance import Instance
from service.runtime.bootstrap import DRAIN_FILE
from service.runtime.worker_stop import RELOAD_FILE, STOP_FILE

log = logging.getLogger(__name__)

DEREGISTER_TIMEOUT_S = 5  # an unresponsive gateway delays the shutdown by at most this long


class GracefulShutdown:
    """Stops the service without failing requests: leaves the gateway, keeps serving, then stops the workers.

    Args:
        server: The server to stop.
        run_directory: A directory that workers watch for signal files.
        instance: The membership in a platform, if any.
        drain_s: Seconds to keep serving after leaving.
    """

    def __init__(self, server: Any, run_directory: Path, instance: Instance | None, drain_s: float) -> None:
        self._server = server
        self._run_directory = run_directory
        self._instance = instance
        self._drain_s = drain_s
        self._stop_now = threading.Event()
        self._has_deregistered = False
        self._ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup makes it
        self.has_begun = False
        self.failure: str | None = None  # why the service stops itself

    def install_handlers(self, stop_on_hangup: bool) -> None:
        """Replace the signal handlers that the server has just installed."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if not stop_on_hangup:
            signal.signal(signal.SIGHUP, self.reload)
        else:
            signal.signal(signal.SIGHUP, signal.SIG_IGN if self._ignores_hangup else self._on_signal)

    def deregister(self) -> None:
        """Leave the platform. Waits at most DEREGISTER_TIMEOUT_S; further calls do nothing."""
        if self._instance is not None and not self._has_deregistered:
            self._has_deregistered = True
            thread = threading.Thread(target=self._instance.deregister, name="deregister", daemon=True)
            thread.start()
            deadline = time.monotonic() + DEREGISTER_TIMEOUT_S
            while thread.is_alive() and time.monotonic() < deadline and not self._stop_now.is_set():
                thread.join(0.05)

    def fail(self, reason: str) -> None:
        """Stop the service, which cannot be used."""
        if not self.has_begun:
            self.failure = reason
            self._on_signal()

    def reload(self, *_: object) -> None:
        """Restart the workers one by one, unless the service is stopping."""
        if not self.has_begun:
            self._signal(RELOAD_FILE)
            self._server.signal_handler_reload()

    def _on_signal(self, *_: object) -> None:
        if self.has_begun:
            self._stop_now.set()  # a second signal ends the drain
        else:
            self.has_begun = True
            threading.Thread(target=self._drain, name="drain").start()

    def _drain(self) -> None:
        try:
            self._signal(DRAIN_FILE)  # /ready returns 503 from now on
            if self._drain_s:
                log.info("draining: leaving the gateway, and serving requests for another %.0f s", self._drain_s)
            self.deregister()
            # Gateways, health checks and DNS caches notice the change with a delay.
            self._stop_now.wait(self._drain_s)
        finally:
            self._signal(STOP_FILE)
            self._server.signal_handler_interrupt()

    def _signal(self, file: str) -> None:
        try:
            self._run_directory.mkdir(exist_ok=True)  # a cleanup job may have removed it
            (self._run_directory / file).touch()
        except OSError as err:
            log.error("cannot signal the workers: %s", err)
