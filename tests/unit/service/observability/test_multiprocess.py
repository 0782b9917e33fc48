"""Processes that count the same metric do not damage each other's files."""

import subprocess
import sys

from tests.conftest import ROOT

# A separate process, because the choice of the library's values cannot be undone.
SCRIPT = """
import multiprocessing, sys
from pathlib import Path
from service.observability import batches, metrics
from service.observability.multiprocess import enable_multiprocess, render_metrics

def work(folder):
    enable_multiprocess(folder)
    for _ in range(50):
        metrics.timelines.labels("process").inc()  # new in this process
        metrics.former_primaries.labels("db1:5432").inc()  # its parent has counted it
        metrics.distrusted.labels("floor").inc()
    batches.flush()

folder = Path(sys.argv[1])
enable_multiprocess(folder)
metrics.former_primaries.labels("db1:5432").inc()
workers = [multiprocessing.get_context("fork").Process(target=work, args=(folder,)) for _ in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(render_metrics().decode())
"""


def test_a_forked_worker_counts_what_its_parent_has_counted(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "metrics")], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert 'loaner_former_primary_total{host="db1:5432"} 151.0' in done.stdout
    assert 'loaner_timelines_total{layer="process"} 150.0' in done.stdout
    assert 'loaner_distrusted_total{reason="floor"} 150.0' in done.stdout


# What a request counts, in a worker that was forked from a process that counts as well.
REQUEST = """
import multiprocessing, sys
from pathlib import Path
from service.observability import metrics
from service.observability.multiprocess import enable_multiprocess

COUNTERS = [each for each in vars(metrics).values() if isinstance(each, (metrics.Counter, metrics.BatchedCounter))]

def work(folder, is_started):
    enable_multiprocess(folder)
    if is_started:
        metrics.start_counters()
    opened = []
    sys.addaudithook(lambda event, arguments: event == "open" and opened.append(str(arguments[0])))
    for counter in COUNTERS:
        counter.labels("new").inc()
    for values in (("down",), ("unknown",)):
        metrics.database_refusals.labels(*values).inc()
    print(is_started, len([path for path in opened if path.startswith(str(folder))]))

folder = Path(sys.argv[1])
enable_multiprocess(folder)
metrics.database_refusals.labels("down").inc()
for is_started in (False, True):
    worker = multiprocessing.get_context("fork").Process(target=work, args=(folder, is_started))
    worker.start()
    worker.join()
    sys.stdout.flush()
"""


def test_no_file_is_opened_by_a_request_that_counts(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", REQUEST, str(tmp_path / "metrics")], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["False", "1", "True", "0"], done.stderr
