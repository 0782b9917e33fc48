"""Clients that are slow, silent or gone delay no other client, and lose their connections after a bounded time.

RFC 9110, section 15.5.9: a server may close a connection whose request is not complete within the time it waits, with
408 if it replies. RFC 9112, section 9.5: a server has a timeout beyond which it does not keep an inactive connection.
"""

import contextlib
import resource
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager

import pytest

from service.postgres.connect import connect
from service.web.app import MAX_BODY_BYTES
from tests.conftest import load_ledger
from tests.support.door import FORM, TOKEN_FORM, Door, open_door
from tests.support.raw_http import RawConnection, chunk, request_bytes

HEADER_S, BODY_S, SILENCE_S = 6, 3, 1
HANDSHAKE_S = 10  # the server's bound for a TLS handshake, which cannot be configured
MARGIN_S = 2  # for a busy machine, and for timers that are checked once a second
SILENT = 1_100  # more than the backlog of a listening socket, and than the server's default limit of connections
UNFINISHED = 24  # far more than threads
FLOOR_S = 0.05  # a percentile of a busy machine varies by as much
HEALTH_S = 1.0
HEADS, HEAD_BYTES = 200, 150_000  # of memory for each head that has not ended
BALANCE = "/api/v1/loan/1/2020-02-29"
CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.fixture(scope="module", autouse=True)
def many_descriptors():
    """Allow this process, and the service that inherits the limit, as many connections as the tests open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * SILENT:
        pytest.skip(f"needs {3 * SILENT} open files; the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8 * SILENT)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def doors(databases, keys_dir, tmp_path_factory, many_descriptors):
    """One service for each transport, each with one worker and two threads."""
    limits = {"HEADER_TIMEOUT_S": str(HEADER_S), "BODY_TIMEOUT_S": str(BODY_S), "SILENCE_TIMEOUT_S": str(SILENCE_S),
              "THREADS": "2"}  # fmt: skip
    with databases.create() as settings, ExitStack() as stack:
        with closing(connect(settings, "posting")) as connection:
            load_ledger(connection, tmp_path_factory.mktemp("ledger"))
        yield {
            "plain": stack.enter_context(open_door(settings, keys_dir, **limits)),
            "TLS": stack.enter_context(open_door(settings, keys_dir, tmp_path_factory.mktemp("tls"), **limits)),
        }


@pytest.fixture(params=["plain", "TLS"])
def door(doors, request) -> Door:
    return doors[request.param]


def silent_connections(door: Door) -> list[socket.socket]:
    """Open connections that send nothing: with TLS, not even a handshake."""
    return [socket.create_connection(("127.0.0.1", door.port), timeout=10) for _ in range(SILENT)]


def half_heads(door: Door) -> list[RawConnection]:
    return _sent(door, 200, b"GET /version HTTP/1.1\r\nHost: loaner.exa")


def unfinished_posts(door: Door) -> list[RawConnection]:
    """Open connections that announce a body of 130 bytes and send a part of it."""
    return _sent(door, UNFINISHED, request_bytes("POST", "/token", {**FORM, "Content-Length": "130"}) + TOKEN_FORM[:20])


def unfinished_chunks(door: Door) -> list[RawConnection]:
    return _sent(door, UNFINISHED, request_bytes("POST", "/token", {**FORM, **CHUNKED}) + chunk(TOKEN_FORM))


def half_closed(door: Door) -> list[RawConnection]:
    """Open connections whose client has closed its direction, and waits for a reply to nothing."""
    connections = _sent(door, 200, b"")
    for each in connections:
        each.half_close()
    return connections


def unread_replies(door: Door) -> list[RawConnection]:
    """Open connections that request much and read nothing: the documentation's script, pipelined."""
    script = request_bytes("GET", "/api/v1/swagger/swagger-ui-bundle.js") * 10
    return _sent(door, UNFINISHED, script, receive_buffer=4096)


def _sent(door: Door, number: int, data: bytes, receive_buffer: int | None = None) -> list[RawConnection]:
    connections = []
    for _ in range(number):
        connection = door.connect(receive_buffer=receive_buffer)
        connections.append(connection)
        connection.send(data)
    return connections


CROWDS = [
    (silent_connections,), (half_heads,), (unfinished_posts,), (unfinished_chunks,), (half_closed,), (unread_replies,),
    (silent_connections, unfinished_posts, unfinished_chunks),
]  # fmt: skip


@contextmanager
def present(door: Door, gather):
    """Keep connections open until the end of the block, replacing those that the service has ended."""
    crowds = [gather(door)]
    stop = threading.Event()

    def replace() -> None:
        while not stop.wait(0.8):
            crowds.append(gather(door))
            for each in crowds[-3] if len(crowds) > 2 else ():  # ended by now, or held longer than it should be
                each.close()

    replacing = threading.Thread(target=replace)
    if gather is not silent_connections:  # they stay until HEADER_S
        replacing.start()
    try:
        yield
    finally:
        stop.set()
        if replacing.ident is not None:
            replacing.join()
        for crowd in crowds:
            for each in crowd:
                each.close()


@pytest.mark.parametrize("crowd", CROWDS, ids=lambda crowd: " and ".join(gather.__name__ for gather in crowd))
def test_a_crowd_does_not_delay_others(door, bearer, crowd, report_measurement):
    assert door.get(BALANCE, bearer).status == 200  # the loan and the token are cached from now on
    usual_s = door.p99_s(BALANCE, bearer)
    with ExitStack() as stack:
        for gather in crowd:
            stack.enter_context(present(door, gather))
        health_s = max(door.time_s("/healthcheck") for _ in range(5))
        ready_s = max(door.time_s("/ready") for _ in range(2))
        under_load_s = door.p99_s(BALANCE, bearer)
        uncached_s = door.time_s("/api/v1/loan/2/history?from=2020-01-01&to=2020-03-01", bearer)
    report_measurement(
        f"{', '.join(gather.__name__ for gather in crowd)}, {'TLS' if door.tls else 'plain'}: /healthcheck "
        f"{health_s * 1000:.0f} ms, p99 of a cached balance {under_load_s * 1000:.1f} ms, alone {usual_s * 1000:.1f} ms"
    )
    assert max(health_s, ready_s) < HEALTH_S
    assert under_load_s < 3 * max(usual_s, FLOOR_S)
    assert uncached_s < HEALTH_S  # a thread was free


def test_silent_connections_are_ended(door):
    bound_s = (HANDSHAKE_S if door.tls else HEADER_S) + MARGIN_S
    connections = silent_connections(door)
    begun = time.monotonic()
    try:
        for each in connections:
            each.settimeout(max(0.01, bound_s - (time.monotonic() - begun)))
            assert each.recv(1000)[:12] in (b"", b"HTTP/1.1 408")
    finally:
        for each in connections:
            each.close()


def ended_after_s(connection: RawConnection, piece: bytes, pause_s: float, at_most_s: float) -> float:
    """Send pieces until the server ends the connection; return the seconds that it took."""
    begun = time.monotonic()
    while time.monotonic() - begun < at_most_s:
        with contextlib.suppress(OSError):
            connection.send(piece)
        if connection.is_ended(within_s=pause_s):
            break
    return time.monotonic() - begun


def test_slow_headers_are_ended(door):
    """One byte every 200 ms never ends a head; the server waits for HEADER_TIMEOUT_S."""
    with door.connect() as connection:
        connection.send(b"GET /version HTTP/1.1\r\nHost: loaner.test\r\nX: ")
        took_s = ended_after_s(connection, b"a", 0.2, HEADER_S + 2 * MARGIN_S)
    assert HEADER_S - 1 < took_s < HEADER_S + MARGIN_S


@pytest.mark.parametrize("framing", [CHUNKED, {"Content-Length": "1000"}], ids=["chunked", "Content-Length"])
def test_a_body_that_takes_too_long_in_all_is_408(door, framing):
    """Bytes that never pause for SILENCE_TIMEOUT_S still have to end within BODY_TIMEOUT_S."""
    piece = chunk(b"a") if framing == CHUNKED else b"a"
    with door.connect() as connection:
        connection.send(request_bytes("POST", "/token", {**FORM, **framing}))
        begun = time.monotonic()
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.2):
                try:
                    connection.send(piece)
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        reply = connection.read_reply()
        took_s = time.monotonic() - begun
        stop.set()
        dripping.join()
        assert reply is not None
        assert (reply.status, reply.header("Connection")) == (408, "close")
        assert connection.is_ended(within_s=MARGIN_S)
    assert BODY_S - 0.5 < took_s < BODY_S + MARGIN_S


@pytest.mark.parametrize("sent", [b"", TOKEN_FORM[:20]], ids=["from the start", "in the middle"])
def test_a_silent_body_is_408(door, sent):
    with door.connect() as connection:
        connection.send(request_bytes("POST", "/token", {**FORM, "Content-Length": "130"}) + sent)
        begun = time.monotonic()
        reply = connection.read_reply()
        took_s = time.monotonic() - begun
        assert reply is not None
        assert (reply.status, reply.header("Connection")) == (408, "close")
        assert connection.is_ended(within_s=MARGIN_S)
    assert SILENCE_S - 0.5 < took_s < SILENCE_S + MARGIN_S


def test_a_slow_body_within_the_bounds_is_accepted(door):
    with door.connect() as connection:
        connection.send(request_bytes("POST", "/token", {**FORM, "Content-Length": str(len(TOKEN_FORM))}))
        for number in range(0, len(TOKEN_FORM), 20):
            time.sleep(0.2)
            connection.send(TOKEN_FORM[number : number + 20])
        reply = connection.read_reply()
    assert reply is not None
    assert reply.status == 200


def test_a_kept_alive_connection_is_ended_when_it_is_idle(door):
    """RFC 9112, section 9.5. It is not ended before HEADER_TIMEOUT_S, which must exceed a gateway's idle time."""
    with door.connect() as connection:
        connection.send(request_bytes("GET", "/version"))
        reply = connection.read_reply()
        assert reply is not None
        assert reply.status == 200
        assert not connection.is_ended(within_s=HEADER_S - 2)
        assert connection.is_ended(within_s=2 + MARGIN_S)


def test_a_connection_in_use_is_not_ended(door):
    """The timeout of the head counts from the last reply, not from the start of the connection."""
    with door.connect() as connection:
        deadline = time.monotonic() + HEADER_S + 2
        while time.monotonic() < deadline:
            connection.send(request_bytes("GET", "/version"))
            reply = connection.read_reply()
            assert reply is not None
            assert reply.status == 200
            time.sleep(1)


def test_a_body_that_is_announced_too_large_is_413_before_it_is_sent(door):
    """RFC 9110, section 15.5.14: the server may close the connection to keep the client from continuing."""
    reply = door.send(request_bytes("POST", "/token", {**FORM, "Content-Length": str(MAX_BODY_BYTES + 1)}))
    assert reply is not None
    assert (reply.status, reply.header("Connection")) == (413, "close")


def test_a_body_that_becomes_too_large_is_413_and_not_kept(door):
    memory = door.memory_bytes()
    piece = chunk(b"a" * 100_000)
    with door.connect() as connection:
        connection.send(request_bytes("POST", "/token", {**FORM, **CHUNKED}))
        with contextlib.suppress(OSError):  # the service ends the connection
            for _ in range(0, 5 * MAX_BODY_BYTES, 100_000):
                connection.send(piece)
        reply = connection.read_reply()
        assert reply is None or reply.status == 413  # a reset may overtake the reply
        assert connection.is_ended(within_s=MARGIN_S)
    assert door.memory_bytes() - memory < 3 * MAX_BODY_BYTES


def test_a_body_in_tiny_chunks_takes_no_more_memory_and_delays_no_other_client(door, bearer):
    """A chunk of two bytes has an overhead of five on the wire (RFC 9112, section 7.1), and none in memory."""
    assert door.get(BALANCE, bearer).status == 200
    memory, largest, slowest_s = door.memory_bytes(), 0, 0.0
    piece = chunk(b"ab") * 10_000
    with door.connect() as connection:
        connection.send(request_bytes("POST", "/token", {**FORM, **CHUNKED}))
        deadline = time.monotonic() + BODY_S + MARGIN_S
        with contextlib.suppress(OSError):  # the service ends the connection after BODY_TIMEOUT_S
            while time.monotonic() < deadline:
                connection.send(piece)
                largest = max(largest, door.memory_bytes())
                slowest_s = max(slowest_s, door.time_s(BALANCE, bearer))
    assert largest - memory < 3 * MAX_BODY_BYTES
    assert slowest_s < HEALTH_S


def test_large_heads_that_never_end_take_little_memory(door):
    """RFC 9110, section 5.4: a server may limit fields; it must, or each connection costs as much as it likes."""
    before = door.memory_bytes()
    head = b"GET /version HTTP/1.1\r\nHost: loaner.test\r\n" + (b"X: " + b"a" * 20_000 + b"\r\n") * 20
    connections = []
    try:
        for _ in range(HEADS):
            connections.append(door.connect())
            with contextlib.suppress(OSError):  # the service has ended the connection
                connections[-1].send(head)
        assert door.time_s("/healthcheck") < HEALTH_S
        assert door.memory_bytes() - before < HEADS * HEAD_BYTES
    finally:
        for each in connections:
            each.close()
