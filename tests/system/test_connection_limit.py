"""Each worker accepts MAX_CONNECTIONS connections, and may open as many files as these need."""

import re
import resource
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.runtime.open_files import RESERVED_FILES
from tests.system.test_worker_stop import connect, instance, workers

__all__ = ["connect", "instance"]

pytestmark = pytest.mark.shared_ledger
REQUEST = b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n"


def test_further_connections_wait_until_another_one_is_closed(instance, connect):
    with instance(WORKERS="1", MAX_CONNECTIONS="3") as (_, _, port):
        silent = [connect(port) for _ in range(3)]
        waiting = connect(port, REQUEST)
        waiting.settimeout(1)
        with pytest.raises(TimeoutError):
            waiting.recv(1, socket.MSG_PEEK)
        silent[0].close()
        waiting.settimeout(20)
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200")


@contextmanager
def limit_of_open_files(soft: int):
    """Lower the soft limit, which an instance inherits, and yield the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_files(pid: int) -> int:
    """The soft limit of open files of a process."""
    return int(re.search(r"^Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)[1])


def test_workers_may_open_enough_files_for_their_connections(instance):
    with limit_of_open_files(512) as hard:
        needed = 2 * 1000 + RESERVED_FILES
        if hard != resource.RLIM_INFINITY and hard < needed:
            pytest.skip(f"needs a hard limit of {needed} open files: ulimit -Hn")
        with instance(MAX_CONNECTIONS="1000") as (process, read_log, _):
            assert min(open_files(worker) for worker in workers(process.pid)) >= needed
            assert "MAX_CONNECTIONS" not in read_log()
