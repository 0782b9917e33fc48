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
