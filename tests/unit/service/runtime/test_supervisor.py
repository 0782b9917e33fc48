"""The supervisor notices that workers have exited, and the server protects its workers."""

import os
import signal
import time

import pytest
from granian.constants import Interfaces, Loops

from service.runtime.server import KILL_TIMEOUT_S, build_server
from service.runtime.worker_stop import STOP_TIMEOUT_S
from service.settings import ServerSettings
from tests.support.ports import free_port

# Python 3.12 and 3.13 warn of a fork beside other threads: the server waits for each worker in one.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def started(target, workers: int):
    """A server whose workers run a function."""
    server = build_server(ServerSettings(listen_host="127.0.0.1", port=free_port(), workers=workers))
    server._init_shared_socket()
    # A worker inherits the mask, so that a signal waits until the worker has its handler.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        server._spawn_workers(target, None)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return server


def wait_for_signal(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the test run's own handler is inherited
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    time.sleep(60)


@pytest.fixture
def slow_report(monkeypatch):
    """Delay the thread that the operating system reports an exit to, as a busy machine does."""
    wait = os.waitpid

    def report(pid: int, options: int) -> tuple[int, int]:
        found = wait(pid, options)
        if found[0]:
            time.sleep(0.3)
        return found

    monkeypatch.setattr(os, "waitpid", report)


def test_a_worker_that_stops_is_not_reported_as_killed(slow_report, caplog):
    server = started(wait_for_signal, workers=4)
    processes = [worker.inner for worker in server.wrks]
    pids = [process.pid for process in processes]
    server._stop_workers()
    assert "refused to gracefully stop" not in caplog.text
    for process, pid in zip(processes, pids, strict=True):
        assert not process.is_alive()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def ignore_signal(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    time.sleep(60)


def test_a_worker_that_does_not_stop_is_killed_after_the_timeout(caplog):
    server = started(ignore_signal, workers=1)
    server.workers_kill_timeout = 1
    [worker] = server.wrks
    assert worker.is_alive()
    server._stop_workers()
    assert "Killing worker-1 after it refused to gracefully stop" in caplog.text
    assert not worker.is_alive()


def test_the_server_has_the_settings_that_protect_it():
    server = build_server(ServerSettings(max_connections=300, header_timeout_s=61.5))
    assert (server.interface, server.loop) == (Interfaces.ASGINL, Loops.uvloop)
    assert (server.backlog, server.backpressure) == (300, 300)
    assert (server.http1_settings.header_read_timeout, server.http1_settings.keep_alive) == (61_500, True)
    assert server.workers_kill_timeout == KILL_TIMEOUT_S > STOP_TIMEOUT_S


def test_the_default_header_timeout_is_above_the_idle_time_of_gateways():
    assert ServerSettings().header_timeout_s > 60  # Kong's upstream_keepalive_idle_timeout, nginx's keepalive_timeout
