"""The lines about requests, gathered and written a few times a second by a thread of their own.

To write a line is a moment in which other threads may run, and whoever wrote it then waits for them: with every
request, that costs more than the request.
"""

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing.util import Finalize

log = logging.getLogger("service.access")

INTERVAL_S = 0.1
MAX_BUFFERED_LINES = 100_000  # should nobody take them


def buffer_access_log() -> None:
    """From now on, for as long as this process lives, have lines about requests written together."""
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler))
    gathering = BufferedHandler(handler)
    log.addHandler(gathering)
    log.propagate = False
    Finalize(None, gathering.flush, exitpriority=0)  # a process of multiprocessing ends without atexit
    threading.Thread(target=gathering.run, name="access-log", daemon=True).start()


class BufferedHandler(logging.Handler):
    """Keeps records, and lets the handler of all the others write them."""

    def __init__(self, handler: logging.StreamHandler) -> None:  # type: ignore[type-arg]
        super().__init__()
        self._handler = handler
        self._gathered: deque[logging.LogRecord] = deque(maxlen=MAX_BUFFERED_LINES)

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep it, with the id of its request, which only this thread knows."""
        self._handler.filter(record)
        self._gathered.append(record)
        return True

    def flush(self) -> None:
        """Write what was gathered so far."""
        lines = []
        with suppress(IndexError):  # there are no more, or somebody else has just taken them
            while True:
                lines.append(self._handler.format(self._gathered.popleft()))
        if lines:
            self._handler.stream.write("\n".join(lines) + "\n")  # all at once, so no other line comes between
            self._handler.flush()

    def run(self) -> None:
        """Write from time to time."""
        while True:
            time.sleep(INTERVAL_S)
            with suppress(OSError, ValueError):  # standard error is closed
                self.flush()
