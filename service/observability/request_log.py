"""Logs and measures requests, in batches.

Writing a line releases the interpreter lock, and getting it back means waiting for other threads. Done for each
request, that takes longer than the request itself. So a request is only appended to a buffer; a thread of each process
counts and writes what the buffer holds, ten times a second and when the process ends.
"""

import logging
import time
from collections import defaultdict, deque
from multiprocessing.util import Finalize
from threading import Lock, Thread

from service.observability import batches
from service.observability.logging import write_lines
from service.observability.metrics import METHODS, OTHER, lost_lines, request_duration, requests_in_progress
from service.observability.request_id import next_id
from service.observability.request_line import MAX_PATH, Request, format_request
from service.observability.request_marks import RequestMarks
from service.plural import counted

INTERVAL_S = 0.1
LINES_PER_WRITE = 200  # writing lets requests continue, which wait while lines are formatted
MAX_UNCOUNTED = 10_000  # exceeded only while the thread waits for standard error; then requests count themselves
MAX_UNWRITTEN = 100_000  # the oldest are dropped while they cannot be written
MAX_ADDRESS = 45  # characters of an IPv6 address that ends in an IPv4 address

log = logging.getLogger(__name__)


class RequestLog:
    """The request log of one process. Until it is started, each request is counted and written immediately.

    Attributes:
        in_progress: The number of requests that have not been answered. Its owner keeps it, in one thread.
    """

    next_id = staticmethod(next_id)

    def __init__(self) -> None:
        # Building a plain tuple takes a third of the time that a named one takes.
        self._uncounted: deque[tuple[float, str, str, str, str, int, float, str, str, str, str]] = deque()
        self._unwritten: list[Request] = []
        self.in_progress = 0
        self._limit = 0
        self._on_full = self.flush
        self._lost = 0
        self._lost_while_blocked = lost_lines.labels("blocked")
        self._lost_while_closed = lost_lines.labels("closed")
        self._counting = Lock()
        self._writing = Lock()  # may be held for long, while nothing reads standard error
        batches.on_flush(self._count)

    def start(self) -> None:
        """Buffer the requests of this process from now on, and flush them periodically and at its end."""
        self._limit, self._on_full = MAX_UNCOUNTED, batches.flush
        Finalize(None, self.flush, exitpriority=0)  # until Python 3.12, a child skips atexit
        Thread(target=self._run, name="request-log", daemon=True).start()

    def record(
        self,
        address: str | None,
        method: str,
        path: str,
        route: str | None,
        status: int,
        duration_s: float,
        marks: RequestMarks,
    ) -> None:
        """Record a request that has been answered.

        Args:
            address: The client's address. What a proxy reported instead of one is logged as "-".
            method: The method. Unknown ones are recorded as "other".
            path: The path without its query, percent-decoded as in the `scope["path"]` of ASGI.
            route: The path pattern; None if no route matches.
            status: The status of the reply.
            duration_s: Seconds until the reply was ready.
            marks: What else is known about the request. Its ids have characters that are safe in a log line.
        """
        if len(path) > MAX_PATH:
            path = path.lstrip("/")[:MAX_PATH]
        self._uncounted.append(
            (
                time.time(),
                address[: MAX_ADDRESS + 1] if address else "",
                method if method in METHODS else OTHER,
                path,
                route or OTHER,
                status,
                duration_s,
                marks.id,
                marks.trace_id,
                marks.caller,
                marks.rejection,
            )
        )
        if len(self._uncounted) > self._limit:
            self._on_full()

    def flush(self) -> None:
        """Write all metrics of this process, then the lines of the recorded requests."""
        batches.flush()
        with self._writing:  # the process must not end while another thread has lines to write
            with self._counting:
                requests, self._unwritten = self._unwritten, []
                lost, self._lost = self._lost, 0
            for start in range(0, len(requests), LINES_PER_WRITE):
                self._write(requests[start : start + LINES_PER_WRITE])
        if lost:
            log.warning("standard error was blocked: lost %s of the request log", counted(lost, "line"))

    def _count(self) -> None:
        """Count the recorded requests, which then wait to be written."""
        durations = defaultdict(list)
        with self._counting:
            for _ in range(len(self._uncounted)):
                request = Request._make(self._uncounted.popleft())
                self._unwritten.append(request)
                durations[request.route, request.method, request.status].append(request.duration_s)
            for labels, amounts in durations.items():
                request_duration.add(labels, amounts)
            requests_in_progress.set(self.in_progress)
            excess = len(self._unwritten) - MAX_UNWRITTEN
            if excess > 0:
                del self._unwritten[:excess]
                self._lost += excess
                self._lost_while_blocked.inc(excess)
            request_duration.flush()  # last: it fails if a series cannot be stored

    def _write(self, requests: list[Request]) -> None:
        lines = [line for request in requests if (line := format_request(request))]
        try:
            write_lines(lines)
        except (OSError, ValueError):  # standard error is closed
            self._lost_while_closed.inc(len(lines))

    def _run(self) -> None:
        is_failing = False
        while True:
            time.sleep(INTERVAL_S)
            try:
                self.flush()
                is_failing = False
            except Exception:
                if not is_failing:  # once, not ten times a second
                    log.exception("cannot write the request log; trying again")
                is_failing = True
