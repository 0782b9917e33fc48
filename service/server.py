"""The running service: a parent process that supervises, and workers that answer."""

import errno
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from functools import partial
from typing import Any

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

from service.bootstrap import build_app
from service.errors import SettingsError
from service.logs import configure_logging
from service.settings import Settings

log = logging.getLogger(__name__)

PREDECESSOR_TIMEOUT_S = 3  # the workers of a killed parent need a moment to leave the port
STOP_TIMEOUT_S = 15  # requests that are under way get this long when the service stops


def load_worker(settings: Settings) -> Flask:
    """What each worker does first: its own log, its own connections, its own application."""
    configure_logging(settings.log_level)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    return build_app(settings)


def _follow_parent() -> None:
    # A parent that was killed stops nobody, and workers that outlive it would keep the port from its successor.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: Settings) -> None:
    """Answer requests until SIGINT or SIGTERM. A worker that dies is replaced.

    Raises: SettingsError when the address cannot be used; SystemExit when workers keep dying.
    """
    _check_address(settings.listen_host, settings.port)
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
    log.info("serving on http://%s:%d with %d workers", settings.listen_host, settings.port, settings.workers)
    server.serve(target_loader=partial(load_worker, settings), wrap_loader=False)
    log.info("stopped")


def _check_address(host: str, port: int) -> None:
    # The server itself shares its port with whoever else does, and would answer only some of the requests.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + PREDECESSOR_TIMEOUT_S
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as err:
                if err.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise SettingsError(f"PORT: {host}:{port} cannot be used: {err.strerror}") from err
        time.sleep(0.1)
