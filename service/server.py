"""The running service: a parent process that supervises, and workers that answer."""

import logging
import multiprocessing
import os
import signal
import threading
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

from service.address import shown
from service.bootstrap import build_app
from service.errors import SettingsError
from service.logs import configure_logging
from service.settings import Settings

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 15  # requests that are under way get this long when the service stops


def load_worker(settings: Settings, attempts_file: Path) -> Flask:
    """What each worker does first: its own log, its own connections, its own application."""
    configure_logging(settings.log_level)
    # Blocked here, and so in every thread that is started later, the server's own included: see _stop_once.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=_stop_once, name="stop-once", daemon=True).start()
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    return build_app(settings, attempts_file)


def _stop_once() -> None:
    # Ctrl-C in a terminal, or a service manager, signals every process, and the parent then tells its workers as well.
    # Of two signals at once the kernel gives one to another thread than the main one, where nobody acts on it and the
    # worker hangs. So one thread takes the first, and the server's handler hears of it once.
    signal.sigwait({signal.SIGTERM})
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        os._exit(0)  # the server has not begun
    handler(signal.SIGTERM, None)


def _follow_parent() -> None:
    # A parent that was killed stops nobody, and workers that outlive it would keep the port from its successor.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings, stop_on_hangup: bool = False) -> None:
    """Answer requests until SIGINT or SIGTERM. A worker that dies is replaced.

    stop_on_hangup: whether to stop as well when the terminal is closed; otherwise SIGHUP renews the workers.

    Raises: SettingsError; SystemExit when workers keep dying.
    """
    server: Any = Server(
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
    )
    if stop_on_hangup and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        server.on_startup(lambda: signal.signal(signal.SIGHUP, server.signal_handler_interrupt))
    log.info("serving on http://%s with %d workers", shown(settings), settings.workers)
    with _shared_folder() as folder:
        server.serve(target_loader=partial(load_worker, settings, Path(folder) / "attempts"), wrap_loader=False)
    log.info("stopped")


def _shared_folder() -> TemporaryDirectory[str]:
    """A folder for what the workers share while they run."""
    try:
        return TemporaryDirectory(prefix="loaner-")
    except OSError as err:
        raise SettingsError(f"TMPDIR: no temporary folder can be made: {err.strerror}") from err
