"""A worker process: sets up its logging, metrics, signals and application."""

import asyncio
import gc
from collections.abc import Mapping
from pathlib import Path

from service import __version__
from service.observability.logging import configure_logging
from service.observability.metrics import start_counters
from service.observability.multiprocess import enable_multiprocess
from service.observability.tracing import open_tracing
from service.postgres.connect import Role
from service.runtime.bootstrap import build_front_door
from service.runtime.listening_socket import limit_unread_replies
from service.runtime.run_directory import METRICS_DIRECTORY
from service.runtime.worker_stop import WorkerStop
from service.settings import Settings
from service.vault.shared_credentials import SharedCredentials
from service.web.front_door import FrontDoor

# Reference counting frees almost everything that a request allocates. The collector only finds cycles, and scans every
# cached timeline for them; at its default thresholds that takes as much time as answering the requests.
GC_THRESHOLDS = (50_000, 20, 20)


def load_worker(settings: Settings, run_directory: Path, credentials: Mapping[Role, SharedCredentials]) -> FrontDoor:
    """Set up this worker process, and return its application. The server has set the event loop."""
    configure_logging(settings.server.log_level, settings.server.log_format)
    enable_multiprocess(run_directory / METRICS_DIRECTORY)
    start_counters()
    loop = asyncio.get_event_loop()
    stop = WorkerStop(loop, run_directory)
    stop.watch()
    tracing = open_tracing(settings.service.name, __version__)
    front_door = build_front_door(settings, run_directory, credentials, listen=True, tracing=tracing)
    loop.call_soon(limit_unread_replies, settings.server.silence_timeout_s)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    stop.begin_serving()
    return front_door
