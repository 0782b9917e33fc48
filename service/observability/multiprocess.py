"""What several processes count, added up: each writes files of its own into a folder that they share."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # where the library looks for the folder

log = logging.getLogger(__name__)


def enable_multiprocess(folder: Path) -> None:
    """Count in this folder from now on. To be said in each process, before it counts anything."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark_process_dead(os.getpid(), str(folder))  # somebody who had the same number before
    except OSError as err:
        log.error("this process counts for itself: %s", err)
        values.ValueClass = values.MutexValue
        return
    os.environ[_VARIABLE] = str(folder)
    values.ValueClass = _value_class(folder)  # the library chooses as it is imported, which may have been long ago


def _value_class(folder: Path) -> type[Any]:
    library: Any = values.MultiProcessValue()

    class Value(library):  # type: ignore[misc]
        def __init__(self, *described: Any, **more: Any) -> None:
            folder.mkdir(parents=True, exist_ok=True)  # somebody may have cleaned up since the last one
            super().__init__(*described, **more)

    return Value


def render_metrics() -> bytes:
    """Every metric in Prometheus' text format, of all processes together, or of this one if nothing is shared."""
    if values.ValueClass is values.MutexValue:
        return generate_latest(REGISTRY)
    folder = Path(os.environ[_VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)  # somebody may have cleaned up
    for process in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        if not _is_alive(process):
            with suppress(FileNotFoundError):  # another worker is asked at the same time
                mark_process_dead(process, str(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return generate_latest(registry)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, so it lives
    return True
