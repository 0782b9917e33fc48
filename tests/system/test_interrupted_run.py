"""A test run that is interrupted or killed leaves no server and no folder behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

SELECTION = "tests/integration/service/postgres/test_ledger_tables.py"
TIMEOUT_S = 90


@pytest.fixture
def folder():
    """A folder for temporary files that PostgreSQL's user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="interrupted-"))
    folder.chmod(0o755)
    return folder


def until(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, process.args
        time.sleep(0.05)


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes that have this folder in them or in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def kill_worker_and_terminate(process: subprocess.Popen, folder: Path) -> None:
    """Kill the worker of an xdist run of one; once everything that it started is gone, terminate the run."""
    [first] = folder.glob("loaner-tests-*")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    until(lambda: not first.exists() and not processes_in(first), process)
    process.send_signal(signal.SIGTERM)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("options", "interrupt"),
    [
        ([], lambda process, _: process.send_signal(signal.SIGINT)),
        (["-n", "1"], kill_worker_and_terminate),
    ],
    ids=["interrupted", "worker killed, then terminated"],
)
def test_an_interrupted_run_leaves_no_process_and_no_folder(folder, options, interrupt):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'pytest'}", *options,
         SELECTION],
        cwd=ROOT, env=environment | {"TMPDIR": str(folder)}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: list(folder.glob("loaner-tests-*/postgres/data/base/*")) and processes_in(folder), process)
        until(lambda: any("postgres" in line for line in processes_in(folder)), process)
        interrupt(process, folder)
        assert process.wait(TIMEOUT_S) != 0
        until(lambda: not processes_in(folder) and not list(folder.glob("loaner-tests-*")), process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
