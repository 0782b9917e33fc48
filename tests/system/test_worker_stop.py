"""Workers finish their requests when they stop, and connections without a request do not delay them."""

import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.runtime.server import KILL_TIMEOUT_S
from service.runtime.worker_stop import STOP_TIMEOUT_S, SUCCESSOR_TIMEOUT_S
from tests.support.ports import free_port
from tests.support.processes import ask, reach, started, wait_until_up, workers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.shared_ledger
BODY = b"grant_type=client_credentials&client_id=a&client_secret=b"
HEAD = (
    b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY)
)
RESPAWN_S = 3.5  # the server waits this long for each new worker before it stops the old one


@pytest.fixture
def instance(served):
    """Starts an instance, and returns its process, a function that returns its log, and its port."""

    @contextmanager
    def start(**changes: str):
        port = free_port()
        variables = {
            **reach(served.postgres), "KEYS_DIR": served.tokens.keys_dir, "LISTEN_HOST": "127.0.0.1", "WORKERS": "2",
            "SERVICE_DISCOVERY": "none", "DRAIN_S": "0", "PORT": str(port), "SECRET": "s3cret-of-the-client",
        }  # fmt: skip
        with started(**{**variables, **changes}) as (process, read_log):
            wait_until_up(process, f"http://127.0.0.1:{port}/healthcheck", read_log)
            wait_until(lambda: listeners(port) == int(changes.get("WORKERS", 2)), read_log=read_log)
            yield process, read_log, port

    return start


def listeners(port: int) -> int:
    """The number of workers that accept connections."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


@pytest.fixture
def connect():
    """Opens a connection and sends these bytes."""
    with ExitStack() as open_ones:

        def to(port: int, sent: bytes = b"") -> socket.socket:
            client = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=40))
            client.sendall(sent)
            return client

        yield to


@pytest.fixture
def idle_connections(connect):
    """Opens connections on which no request is in progress: two have had one, two never sent anything."""

    def to(port: int) -> list[socket.socket]:
        kept = [connect(port, b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(2)]
        assert all(client.recv(4096).startswith(b"HTTP/1.1 200") for client in kept)
        return [*kept, connect(port), connect(port)]

    return to


def rest(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(4096):
        received += piece
    return received


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def expect_clean_log(log: str) -> None:
    for sign in ("refused to gracefully stop", "still in use", "Traceback", "panicked", "Unexpected exit"):
        assert sign not in log, log


def test_idle_connections_do_not_delay_a_stop(instance, idle_connections, report_measurement):
    with instance() as (process, read_log, port):
        clients = idle_connections(port)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        took = time.monotonic() - begun
        assert took < STOP_TIMEOUT_S - 5
        assert not any(is_open(client) for client in clients)
        expect_clean_log(read_log())
    report_measurement(f"stop with idle connections: {took:.1f} s")


def test_idle_connections_do_not_delay_a_replacement_of_workers(instance, idle_connections, report_measurement):
    with instance() as (process, read_log, port):
        clients = idle_connections(port)
        before = workers(process.pid)
        begun = time.monotonic()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & workers(process.pid), 60, read_log=read_log)
        took = time.monotonic() - begun
        assert took < 2 * RESPAWN_S + STOP_TIMEOUT_S - 5
        assert not any(is_open(client) for client in clients)
        assert ask(f"http://127.0.0.1:{port}/healthcheck")[0] == 200
        expect_clean_log(read_log())
    report_measurement(f"replacement of two workers with idle connections: {took:.1f} s")


def test_a_request_in_progress_is_answered_and_logged_before_a_worker_is_replaced(instance, connect):
    with instance(WORKERS="1") as (process, read_log, port):
        [old] = workers(process.pid)
        client = connect(port, HEAD + BODY[:10])
        process.send_signal(signal.SIGHUP)
        time.sleep(RESPAWN_S + 2)  # by now, the old worker has been signaled
        assert old in workers(process.pid)
        client.sendall(BODY[10:])
        assert rest(client).startswith(b"HTTP/1.1 401")
        wait_until(lambda: old not in workers(process.pid), STOP_TIMEOUT_S, read_log=read_log)
        # The worker exits before its log is written periodically.
        assert "POST /token" in read_log()
        expect_clean_log(read_log())


def test_a_worker_serves_until_its_successor_does(instance):
    with instance(WORKERS="1") as (process, read_log, port):
        [old] = workers(process.pid)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(workers(process.pid)) == 2, read_log=read_log)
        [new] = workers(process.pid) - {old}
        os.kill(new, signal.SIGSTOP)  # as slow as on a busy machine
        try:
            assert listeners(port) == 1
            time.sleep(RESPAWN_S + 2)  # by now, the old worker has been signaled
            assert ask(f"http://127.0.0.1:{port}/healthcheck")[0] == 200
        finally:
            os.kill(new, signal.SIGCONT)
        wait_until(lambda: workers(process.pid) == {new}, read_log=read_log)
        assert ask(f"http://127.0.0.1:{port}/healthcheck")[0] == 200
        expect_clean_log(read_log())


def test_a_successor_that_does_not_start_is_not_waited_for_forever(instance):
    with instance(WORKERS="1") as (process, read_log, port):
        [old] = workers(process.pid)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(workers(process.pid)) == 2, read_log=read_log)
        [new] = workers(process.pid) - {old}
        os.kill(new, signal.SIGSTOP)
        try:
            wait_until(lambda: workers(process.pid) == {new}, RESPAWN_S + SUCCESSOR_TIMEOUT_S + 10, read_log=read_log)
        finally:
            os.kill(new, signal.SIGCONT)
        assert f"no new worker serves after {SUCCESSOR_TIMEOUT_S} s; connections may be refused" in read_log()
        wait_until(lambda: listeners(port) == 1, read_log=read_log)


def test_an_unfinished_head_delays_a_stop_by_a_bounded_time_and_loses_no_log(instance, connect):
    with instance(WORKERS="1") as (process, read_log, port):
        client = connect(port, HEAD[:40])
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_TIMEOUT_S + 15) == 0
        took = time.monotonic() - begun
        assert STOP_TIMEOUT_S - 1 < took < STOP_TIMEOUT_S + 10
        assert not is_open(client)
        log = read_log()
        assert log.count(f"closing connections that are still in use {STOP_TIMEOUT_S} s after the stop began") == 1
        assert "refused to gracefully stop" not in log
        assert "Traceback" not in log


@pytest.fixture
def stuck(admin, instance, bearer):
    """Starts an instance of one worker, in which a request has begun that waits for a lock in Postgres."""

    @contextmanager
    def start(connect):
        slow = {"WORKERS": "1", "PSQL_STATEMENT_TIMEOUT_S": "60"}
        with instance(**slow) as (process, read_log, port), admin, admin.cursor() as cursor:
            cursor.execute("LOCK TABLE loans IN ACCESS EXCLUSIVE MODE")
            head = f"GET /api/v1/loan/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n\r\n"
            client = connect(port, head.encode())
            wait_until(lambda: waits_for_a_lock(cursor), read_log=read_log)
            yield process, read_log, client

    return start


def waits_for_a_lock(cursor) -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return cursor.fetchone()[0] > 0


def test_a_request_that_takes_too_long_delays_a_stop_by_a_bounded_time(stuck, connect):
    with stuck(connect) as (process, read_log, client):
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(KILL_TIMEOUT_S + 15) == 0
        assert time.monotonic() - begun > STOP_TIMEOUT_S - 1
        assert rest(client) == b""
        log = read_log()
        assert "connections that are still in use" in log
        assert "refused to gracefully stop" not in log
        assert "Traceback" not in log


def test_work_for_a_client_that_has_left_does_not_delay_a_stop(stuck, connect):
    with stuck(connect) as (process, read_log, client):
        client.close()
        time.sleep(1)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(KILL_TIMEOUT_S + 15) == 0
        assert time.monotonic() - begun < STOP_TIMEOUT_S - 5
        expect_clean_log(read_log())


def test_a_killed_parent_stops_its_workers_after_their_requests(instance, connect):
    with instance() as (process, read_log, port):
        client = connect(port, HEAD + BODY[:10])
        time.sleep(0.5)
        orphans = workers(process.pid)
        process.kill()
        process.wait()
        time.sleep(2)
        client.sendall(BODY[10:])
        assert rest(client).startswith(b"HTTP/1.1 401")
        wait_until(lambda: refuses_connections(port), read_log=read_log)
        wait_until(lambda: not any(Path(f"/proc/{orphan}").exists() for orphan in orphans), read_log=read_log)
        expect_clean_log(read_log())


def test_a_killed_worker_is_replaced_while_others_answer(instance):
    with instance() as (process, read_log, port):
        victim = min(workers(process.pid))
        url = f"http://127.0.0.1:{port}/healthcheck"
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in workers(process.pid), read_log=read_log)
        statuses = {ask(url)[0] for _ in range(50)}
        wait_until(lambda: len(workers(process.pid)) == 2, read_log=read_log)
        assert statuses == {200}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "refused to gracefully stop" not in read_log()


def test_two_interrupts_of_the_whole_group_finish_requests_and_skip_the_drain(instance, connect):
    """As Ctrl-C does, twice, in a terminal: every process gets the signal."""
    with instance(DRAIN_S="60") as (process, read_log, port):
        client = connect(port, HEAD + BODY[:10])
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        ready = f"http://127.0.0.1:{port}/ready"
        wait_until(lambda: ask(ready)[0] == 503, read_log=read_log)  # draining, and still serving
        os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: refuses_connections(port), read_log=read_log)
        client.sendall(BODY[10:])
        assert rest(client).startswith(b"HTTP/1.1 401")
        assert process.wait(30) == 0
        expect_clean_log(read_log())


def test_signals_of_a_service_manager_do_not_stop_workers_that_still_serve(instance, connect):
    """systemd signals every process of a service, and operators repeat a signal that seems to have no effect."""
    with instance(WORKERS="1", DRAIN_S="3") as (process, read_log, port):
        [worker] = workers(process.pid)
        os.kill(worker, signal.SIGTERM)
        time.sleep(2)
        assert workers(process.pid) == {worker}
        process.send_signal(signal.SIGTERM)
        client = connect(port, HEAD + BODY[:10])
        wait_until(lambda: refuses_connections(port), read_log=read_log)
        for _ in range(5):  # after the one that counts
            os.kill(worker, signal.SIGTERM)
            time.sleep(0.05)
        client.sendall(BODY[10:])
        assert rest(client).startswith(b"HTTP/1.1 401")
        assert process.wait(30) == 0
        expect_clean_log(read_log())


def test_a_stop_during_a_replacement_of_workers_is_clean(instance):
    with instance() as (process, read_log, _):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)  # the first new worker is still starting
        process.send_signal(signal.SIGTERM)
        assert process.wait(2 * RESPAWN_S + KILL_TIMEOUT_S + 10) == 0
        expect_clean_log(read_log())
