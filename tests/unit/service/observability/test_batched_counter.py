"""Counters that are written in batches."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import REGISTRY

from service.observability import batches
from service.observability.batched_counter import BatchedCounter
from service.observability.multiprocess import render_metrics
from tests.conftest import ROOT

FORK = """
import os, sys
from pathlib import Path
from service.observability.batched_counter import BatchedCounter
from service.observability.multiprocess import enable_multiprocess, render_metrics
enable_multiprocess(Path(sys.argv[1]))
forked = BatchedCounter("forked_total", "For this test.", ("kind",))
forked.labels("a").inc(3)
if not os.fork():
    forked.labels("a").inc()
    render_metrics()
    os._exit(0)
os.wait()
print(render_metrics().decode())
"""


def value(name: str, kind: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"kind": kind})


def test_counts_of_many_threads_are_exact_while_batches_are_written():
    counter = BatchedCounter("counted_by_threads_total", "For this test.", ("kind",))
    is_done = False

    def count(number: int) -> None:
        for _ in range(20_000):
            counter.labels("even" if number % 2 else "odd").inc()
        counter.labels("odd").inc(number)

    def flush() -> None:
        while not is_done:
            batches.flush()

    with ThreadPoolExecutor(9) as pool:
        flushing = pool.submit(flush)
        for each in [pool.submit(count, number) for number in range(8)]:
            each.result()
        is_done = True
        flushing.result()
    batches.flush()
    assert (value("counted_by_threads_total", "even"), value("counted_by_threads_total", "odd")) == (80_000, 80_028)


def test_a_count_is_exact_if_other_threads_count_during_the_addition():
    class Slow(int):
        """Lets other threads run between reading and writing the value."""

        def __radd__(self, other: int) -> int:
            time.sleep(0.001)
            return int(self) + other

    counter = BatchedCounter("slow_total", "For this test.", ("kind",))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(200):
            pool.submit(counter.labels("a").inc, Slow(1))
    batches.flush()
    assert value("slow_total", "a") == 200


def test_a_counted_series_is_rendered_without_waiting_for_the_next_batch():
    counter = BatchedCounter("rendered_total", "For this test.", ("kind",))
    counter.labels("a").inc(2)
    assert value("rendered_total", "a") is None
    assert b'rendered_total{kind="a"} 2.0\n' in render_metrics()


def test_a_count_whose_series_cannot_be_stored_fails_no_request_and_is_made_up_for(monkeypatch):
    counter = BatchedCounter("unstored_total", "For this test.", ("kind",))
    store = counter._counter.labels

    def fail(*values: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(counter._counter, "labels", fail)
    counter.labels("a").inc(2)
    batches.flush()
    counter.labels("a").inc()
    monkeypatch.setattr(counter._counter, "labels", store)
    batches.flush()
    assert value("unstored_total", "a") == 3


def test_a_forked_child_does_not_count_again_what_its_parent_counted(tmp_path):
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert 'forked_total{kind="a"} 4.0\n' in done.stdout


def test_a_batch_that_cannot_be_written_is_logged_once_and_stops_no_other(caplog, monkeypatch):
    monkeypatch.setattr(batches, "_actions", [])
    written = []
    is_full = True

    def fail() -> None:
        if is_full:
            raise OSError("disk full")

    batches.on_flush(fail)
    batches.on_flush(lambda: written.append(1))
    for _ in range(3):
        batches.flush()
    assert written == [1, 1, 1]
    assert caplog.text.count("cannot write metrics; trying again") == 1
    is_full = False
    batches.flush()
    is_full = True
    batches.flush()
    assert caplog.text.count("cannot write metrics; trying again") == 2
