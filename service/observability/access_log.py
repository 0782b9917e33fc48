"""Buffers the access log; a separate thread writes it several times a second.

Writing a line releases the interpreter lock, and getting it back means waiting for other threads. Done for each
request, that takes longer than the request itself.
"""

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing.util import Finalize

log = logging.getLogger("service.access")

INTERVAL_S = 0.1
MAX_BUFFERED_LINES = 100_000  # the oldest are dropped while they cannot be written


def buffer_access_log() -> None:
    """Buffer the access log of this process from now on."""
    (target,) = (each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler))
    buffered = BufferedHandler(target)
    log.addHandler(buffered)
    log.propagate = False
    Finalize(None, buffered.flush, exitpriority=0)  # a multiprocessing child skips atexit
    threading.Thread(target=buffered.run, name="access-log", daemon=True).start()


class BufferedHandler(logging.Handler):
    """Buffers records for another handler.

    Args:
        target: Filters and formats the records; its stream receives them.
    """

    def __init__(self, target: logging.StreamHandler) -> None:  # type: ignore[type-arg]
        super().__init__()
        self._target = target
        self._records: deque[logging.LogRecord] = deque(maxlen=MAX_BUFFERED_LINES)

    def handle(self, record: logging.LogRecord) -> bool:
        """Buffer a record. The target's filter adds the request id, which is known only in this thread."""
        self._target.filter(record)
        self._records.append(record)
        return True

    def flush(self) -> None:
        """Write the buffered records."""
        lines = []
        with suppress(IndexError):  # the buffer is empty; another thread may be flushing it, too
            while True:
                lines.append(self._target.format(self._records.popleft()))
        if lines:
            self._target.stream.write("\n".join(lines) + "\n")  # one write, so that no other line comes between
            self._target.flush()

    def run(self) -> None:
        """Flush periodically, forever."""
        while True:
            time.sleep(INTERVAL_S)
            with suppress(OSError, ValueError):  # standard error is closed
                self.flush()
