"""The running service: a parent process that supervises, and workers that answer requests."""

import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server import Server

from service.gateway.instance import Instance
from service.observability.logging import configure_logging
from service.observability.multiprocess import enable_multiprocess
from service.postgres.connect import Role
from service.runtime.bootstrap import ATTEMPTS_FILE, DRAIN_FILE, build_front_door
from service.runtime.listen_address import host_and_port, scheme
from service.runtime.run_directory import METRICS_DIRECTORY
from service.runtime.tls import CertificateReloader
from service.settings import ServerSettings, Settings
from service.tokens.throttle import AttemptThrottle
from service.vault.shared_credentials import SharedCredentials
from service.web.front_door import FrontDoor

log = logging.getLogger(__name__)

# Reference counting frees almost everything that a request allocates. The collector only finds cycles, and scans every
# cached timeline for them; at its default thresholds that takes as much time as answering the requests.
GC_THRESHOLDS = (50_000, 20, 20)
STOP_FILE = "stopping"  # in the run directory: workers may stop
RELOAD_FILE = "reloading"  # in the run directory: workers older than the file may stop
WORKER_START_S = 2  # a worker handles signals within this time after its start
DEREGISTER_TIMEOUT_S = 5  # an unresponsive gateway delays the shutdown by at most this long
STOP_TIMEOUT_S = 15  # requests in progress may take this long when the service stops


def load_worker(settings: Settings, run_directory: Path, credentials: Mapping[Role, SharedCredentials]) -> FrontDoor:
    """Set up a worker process: its logging, metrics, signals and application."""
    configure_logging(settings.server.log_level)
    enable_multiprocess(run_directory / METRICS_DIRECTORY)
    # Threads inherit the mask, including the server's own, so that only _forward_one_stop receives these signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=_forward_one_stop, args=(run_directory,), name="forward-stop", daemon=True).start()
    threading.Thread(target=_stop_after_parent, name="stop-after-parent", daemon=True).start()
    door = build_front_door(settings, run_directory, credentials, listen=True)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    return door


def _forward_one_stop(run_directory: Path) -> None:
    """Wait until this worker should stop, then call the server's handler exactly once.

    Ctrl-C in a terminal, or a service manager, signals every process. The parent signals its workers as well, but only
    after it has left the gateway; until then requests still arrive, so earlier signals are ignored. If two signals
    arrive together, the kernel may deliver one to a thread other than the main one, and the worker would hang.
    """
    parent = multiprocessing.parent_process()
    started = time.time()
    while True:
        signal.sigwait({signal.SIGTERM})
        is_orphan = parent is None or not parent.is_alive() or not run_directory.exists()
        if is_orphan or (run_directory / STOP_FILE).exists():
            break
        reload_file = run_directory / RELOAD_FILE
        if reload_file.exists() and reload_file.stat().st_mtime > started:
            break
    time.sleep(max(0.0, started + WORKER_START_S - time.time()))  # a starting server ignores the signal
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        os._exit(0)  # the server has not started
    handler(signal.SIGTERM, None)  # a second call would drop the requests in progress


def _stop_after_parent() -> None:
    # A killed parent cannot stop its workers, and surviving workers would hold the port of its successor.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def build_server(settings: ServerSettings, certificate: Path | None = None) -> Any:
    """Build the server that `serve` runs, without an application.

    Args:
        settings: The address, and the numbers of workers and threads.
        certificate: PEM file with the certificate and its private key, for HTTPS.
    """
    return Server(
        "loaner",
        address=settings.listen_host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        ssl_cert=certificate,
        ssl_key=certificate,
        ssl_protocol_min=SSLProtocols.tls12,
    )


def _set_certificate(server: Any, certificate: Path | None) -> None:
    """Set the certificate of workers that start from now on."""
    server.build_ssl_context(certificate, certificate, None, SSLProtocols.tls12, None, [], False)


def serve(
    settings: Settings,
    run_directory: Path,
    *,
    instance: Instance | None = None,
    credentials: Mapping[Role, SharedCredentials] | None = None,
    stop_on_hangup: bool = False,
) -> None:
    """Serve requests until SIGINT or SIGTERM. Workers that die are replaced.

    Args:
        settings: The settings of the service.
        run_directory: A directory that this process shares with its workers.
        instance: The membership in a platform: joins when the service is ready, and leaves before it stops.
        credentials: Credentials from Vault, by role. Other roles use the logins in the settings.
        stop_on_hangup: Whether SIGHUP, which a closed terminal sends, stops the service. Otherwise it restarts the
            workers one by one.

    Raises:
        SettingsError: If the certificate cannot be used.
        SystemExit: If workers keep dying.
    """
    certificate = CertificateReloader(settings.tls, run_directory)
    server = build_server(settings.server, certificate.current())
    AttemptThrottle(run_directory / ATTEMPTS_FILE).close()  # creates the database before several workers open it
    shutdown = GracefulShutdown(server, run_directory, instance, settings.server.drain_s)
    server.on_startup(lambda: shutdown.install_handlers(stop_on_hangup))
    server.on_startup(lambda: certificate.watch(shutdown.reload))
    server.on_reload(lambda: _set_certificate(server, certificate.current()))
    if instance is not None:
        instance.start()
    log.info(
        "serving on %s://%s with %d workers",
        scheme(settings.tls),
        host_and_port(settings.server),
        settings.server.workers,
    )
    load = partial(load_worker, settings, run_directory, credentials or {})
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit:
        if not shutdown.has_begun:
            raise
        log.warning("workers died during the shutdown")
    finally:
        shutdown.deregister()
    log.info("stopped")


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
        self.has_begun = False

    def install_handlers(self, stop_on_hangup: bool) -> None:
        """Replace the signal handlers that the server has just installed."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if not stop_on_hangup:
            signal.signal(signal.SIGHUP, self.reload)
        elif signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(signal.SIGHUP, self._on_signal)

    def deregister(self) -> None:
        """Leave the platform. Waits at most DEREGISTER_TIMEOUT_S; further calls do nothing."""
        if self._instance is not None and not self._has_deregistered:
            self._has_deregistered = True
            thread = threading.Thread(target=self._instance.deregister, name="deregister", daemon=True)
            thread.start()
            deadline = time.monotonic() + DEREGISTER_TIMEOUT_S
            while thread.is_alive() and time.monotonic() < deadline and not self._stop_now.is_set():
                thread.join(0.05)

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
