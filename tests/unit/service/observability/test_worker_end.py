"""What becomes of recorded requests when a process ends, in processes that record as workers do."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from service.observability import metrics
from service.observability.logging import configure_logging
from service.observability.multiprocess import enable_multiprocess
from service.observability.request_log import RequestLog
from service.observability.request_marks import RequestMarks

LABELS = {"route": "/<loan_id>", "method": "GET", "status": "200"}
Action = Callable[[RequestLog, Path], None]


class Worker:
    """A process that has a request log.

    Args:
        folder: For its log and its metrics.
        action: What it does with its request log before it ends.
    """

    def __init__(self, folder: Path, action: Action) -> None:
        self._folder = folder
        self.process = multiprocessing.get_context("spawn").Process(target=_work, args=(folder, action))
        self.process.start()

    def counted(self, name: str, **labels: str) -> float:
        """Return a value of the metrics that it has written."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder / "metrics"))
        return registry.get_sample_value(f"loaner_{name}", labels) or 0


def _work(folder: Path, action: Action) -> None:
    os.dup2(os.open(folder / "log", os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    configure_logging("INFO")
    enable_multiprocess(folder / "metrics")
    log = RequestLog()
    log.start()
    action(log, folder)


def record_thousands(log: RequestLog, folder: Path) -> None:
    def record(thread: int) -> None:
        for number in range(thread * 3_000, (thread + 1) * 3_000):
            log.record("::1", "GET", "/1", "/<loan_id>", 200, number / 1024, RequestMarks(f"id-{number}"))
            metrics.timelines.labels("process").inc()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))
    (folder / "recorded").touch()


def record_and_stay(log: RequestLog, folder: Path) -> None:
    record_thousands(log, folder)
    time.sleep(60)


def record_and_write(log: RequestLog, folder: Path) -> None:
    record_thousands(log, folder)
    while log._uncounted or log._unwritten:  # the thread takes all lines, and waits for the reader
        time.sleep(0.01)
    (folder / "taken").touch()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_ends_has_counted_and_logged_every_request_of_its_threads(tmp_path):
    worker = Worker(tmp_path, record_thousands)
    worker.process.join(30)
    assert worker.process.exitcode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(int(line.partition("[id-")[2].partition("]")[0]) for line in lines) == list(range(12_000))
    assert worker.counted("timelines_total", layer="process") == 12_000
    assert worker.counted("request_duration_seconds_count", **LABELS) == 12_000
    assert worker.counted("request_duration_seconds_sum", **LABELS) == sum(range(12_000)) / 1024
    assert worker.counted("request_duration_seconds_bucket", le="1.0", **LABELS) == 1_025


def test_a_killed_worker_loses_only_the_last_batch(tmp_path):
    worker = Worker(tmp_path, record_and_stay)
    wait_for(tmp_path / "recorded")
    time.sleep(2)  # far more than an interval
    worker.process.kill()
    worker.process.join(30)
    assert (tmp_path / "log").read_text().count("\n") == 12_000
    assert worker.counted("request_duration_seconds_count", **LABELS) == 12_000


def test_a_worker_that_ends_waits_for_the_lines_that_its_thread_is_writing(tmp_path):
    os.mkfifo(tmp_path / "log")
    with open(os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK), encoding="ascii") as pipe:
        worker = Worker(tmp_path, record_and_write)
        wait_for(tmp_path / "taken")
        worker.process.join(0.5)
        assert worker.process.exitcode is None
        assert worker.counted("request_duration_seconds_count", **LABELS) == 12_000  # counting waits for no reader
        os.set_blocking(pipe.fileno(), True)
        assert pipe.read().count("\n") == 12_000
    worker.process.join(30)
    assert worker.process.exitcode == 0
