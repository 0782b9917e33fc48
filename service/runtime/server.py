"""The running service: a parent process that supervises, and workers that answer."""

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

from flask import Flask
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server import Server

from service.gateway.instance import Instance
from service.observability.access_log import buffer_access_log
from service.observability.logging import configure_logging
from service.observability.multiprocess import enable_multiprocess
from service.postgres.connect import Role
from service.runtime.bootstrap import ATTEMPTS, DRAIN_FILE, build_app
from service.runtime.listen_address import scheme, shown
from service.runtime.run_directory import METRICS
from service.runtime.tls import CertificateReloader
from service.settings import ServerSettings, Settings
from service.tokens.throttle import AttemptThrottle
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)

# What a request makes goes when nobody refers to it any more. The collector looks for cycles, of which there are few,
# and walks over every cached timeline for that: as often as it does by itself, that takes as long as to answer.
COLLECT_AFTER = (50_000, 20, 20)
STOP_FILE = "stopping"  # the file that lets workers stop
RELOAD_FILE = "renewing"  # the file that lets those stop which have begun before it was written
BEGINNING_S = 2  # a worker needs less than this until it can be told to stop
LEAVE_S = 5  # how long a gateway that does not answer may hold up the end
STOP_TIMEOUT_S = 15  # requests that are under way get this long when the service stops


def load_worker(settings: Settings, shared: Path, credentials: Mapping[Role, SharedCredentials]) -> Flask:
    """What each worker does first: its own log, its own connections, its own application."""
    configure_logging(settings.server.log_level)
    enable_multiprocess(shared / METRICS)
    # Blocked here, and so in every thread that is started later, the server's own included: see _stop_once.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    buffer_access_log()
    threading.Thread(target=_stop_once, args=(shared,), name="stop-once", daemon=True).start()
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    app = build_app(settings, shared, credentials, listens=True)
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    return app


def _stop_once(shared: Path) -> None:
    # Ctrl-C in a terminal, or a service manager, signals every process, and the parent then tells its workers as well,
    # once it has left the gateway: until then requests come in. Of two signals at once the kernel gives one to another
    # thread than the main one, where nobody acts on it and the worker hangs. So one thread takes them, and the server's
    # handler hears of it once.
    parent = multiprocessing.parent_process()
    begun = time.time()
    while True:
        signal.sigwait({signal.SIGTERM})
        if parent is None or not parent.is_alive() or not shared.exists() or (shared / STOP_FILE).exists():
            break
        if (shared / RELOAD_FILE).exists() and (shared / RELOAD_FILE).stat().st_mtime > begun:
            break
    time.sleep(max(0.0, begun + BEGINNING_S - time.time()))  # while it begins, the server does not hear
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        os._exit(0)  # the server has not begun
    handler(signal.SIGTERM, None)  # once: at a second time it drops the requests that are under way


def _follow_parent() -> None:
    # A parent that was killed stops nobody, and workers that outlive it would keep the port from its successor.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def new_server(settings: ServerSettings, certificate: Path | None = None) -> Any:
    """The server that `serve` runs, without an application. certificate: what it shows, with its key, in one file."""
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


def _show(server: Any, certificate: Path | None) -> None:
    """Have workers that start from now on show this certificate."""
    server.build_ssl_context(certificate, certificate, None, SSLProtocols.tls12, None, [], False)


def serve(
    settings: Settings,
    shared: Path,
    *,
    instance: Instance | None = None,
    credentials: Mapping[Role, SharedCredentials] | None = None,
    stop_on_hangup: bool = False,
) -> None:
    """Answer requests until SIGINT or SIGTERM. A worker that dies is replaced.

    shared: a folder for this process and its workers. instance: this process as a member of a platform, which joins
    when it can answer, and leaves before it stops. credentials: who reads from Postgres, and who posts, as far as Vault
    says so. stop_on_hangup: whether to stop as well when the terminal is closed; otherwise SIGHUP renews the workers.

    Raises: SettingsError; SystemExit when workers keep dying.
    """
    certificate = CertificateReloader(settings.tls, shared)
    server = new_server(settings.server, certificate.take())
    AttemptThrottle(shared / ATTEMPTS).close()  # made by one, before many open it
    farewell = GracefulShutdown(server, shared, instance, settings.server.drain_s)
    server.on_startup(lambda: farewell.listen(stop_on_hangup))
    server.on_startup(lambda: certificate.follow(farewell.renew))
    server.on_reload(lambda: _show(server, certificate.take()))
    if instance is not None:
        instance.start()
    log.info(
        "serving on %s://%s with %d workers", scheme(settings.tls), shown(settings.server), settings.server.workers
    )
    try:
        server.serve(target_loader=partial(load_worker, settings, shared, credentials or {}), wrap_loader=False)
    except SystemExit:
        if not farewell.begun:
            raise
        log.warning("workers died while this instance was leaving")
    finally:
        farewell.leave()
    log.info("stopped")


class GracefulShutdown:
    """From the first signal to stop until the workers are told: nobody sends requests here any more by then."""

    def __init__(self, server: Any, shared: Path, instance: Instance | None, drain_s: float) -> None:
        self._server = server
        self._shared = shared
        self._instance = instance
        self._drain_s = drain_s
        self._at_once = threading.Event()
        self._left = False
        self.begun = False

    def listen(self, on_hangup: bool) -> None:
        """Take the signals that the server has just taken."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        if not on_hangup:
            signal.signal(signal.SIGHUP, self.renew)
        elif signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_signal)

    def leave(self) -> None:
        """Leave the platform, once, within a bound."""
        if self._instance is not None and not self._left:
            self._left = True
            leaving = threading.Thread(target=self._instance.deregister, name="leave", daemon=True)
            leaving.start()
            deadline = time.monotonic() + LEAVE_S
            while leaving.is_alive() and time.monotonic() < deadline and not self._at_once.is_set():
                leaving.join(0.05)

    def renew(self, *_: object) -> None:
        """Replace the workers one by one, unless they are about to stop."""
        if not self.begun:
            self._tell(RELOAD_FILE)
            self._server.signal_handler_reload()

    def _on_signal(self, *_: object) -> None:
        if self.begun:
            self._at_once.set()  # whoever asks twice is in a hurry
        else:
            self.begun = True
            threading.Thread(target=self._drain, name="farewell").start()

    def _drain(self) -> None:
        try:
            self._tell(DRAIN_FILE)  # /ready is 503 from now on
            if self._drain_s:
                log.info("leaving; requests are answered for another %.0f s", self._drain_s)
            self.leave()
            # a gateway, those who ask /ready, and whoever has looked up our name, hear of it in their own time
            self._at_once.wait(self._drain_s)
        finally:
            self._tell(STOP_FILE)
            self._server.signal_handler_interrupt()

    def _tell(self, sign: str) -> None:
        try:
            self._shared.mkdir(exist_ok=True)  # somebody may have cleaned up
            (self._shared / sign).touch()
        except OSError as err:
            log.error("the workers cannot be told: %s", err)
