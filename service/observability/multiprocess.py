"""Aggregates the metrics of several processes: each writes its own files into a shared folder."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.observability import batches
from service.observability.processes import Processes

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by the library

log = logging.getLogger(__name__)


def enable_multiprocess(folder: Path) -> None:
    """Write metrics into this folder. Call it in each process before the process counts anything.

    A worker that was forked keeps its parent's class of values, which opens other files in another process. A second
    class would write to the same files again and damage them.
    """
    if getattr(values.ValueClass, "folder", None) == folder:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark_process_dead(os.getpid(), str(folder))  # an earlier process with the same id
    except OSError as err:
        log.error("cannot share metrics; this process reports only its own: %s", err)
        values.ValueClass = values.MutexValue
        return
    os.environ[_FOLDER_VARIABLE] = str(folder)
    values.ValueClass = _value_class(folder)  # the library chooses only when it is imported


def _value_class(folder: Path) -> type[Any]:
    library: Any = values.MultiProcessValue()

    class Value(library):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            folder.mkdir(parents=True, exist_ok=True)  # the folder may have been removed
            super().__init__(*arguments, **options)

    Value.folder = folder
    return Value


def render_metrics() -> bytes:
    """Return all metrics in the Prometheus text format, aggregated over the processes that share the folder.

    Counts of the other processes may be missing for as long as their batches last.
    """
    batches.flush()
    if values.ValueClass is values.MutexValue:
        return generate_latest(REGISTRY)
    folder = Path(os.environ[_FOLDER_VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)  # the folder may have been removed
    for process in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        if not _is_alive(process):
            with suppress(FileNotFoundError):  # another worker may do the same
                mark_process_dead(process, str(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    registry.register(Processes(folder))
    return generate_latest(registry)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it exists and belongs to another user
    return True
