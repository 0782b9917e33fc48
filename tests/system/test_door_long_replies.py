"""Long replies are streamed at the reader's pace, end with the reader, and are never cut without a sign.

RFC 9112, section 8: a chunked reply is incomplete without its last chunk, so a reply that fails must not have one.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from service.postgres.connect import connect
from service.web.app import MAX_BODY_BYTES
from tests.conftest import sql
from tests.support.door import FORM, TOKEN_FORM, Door, open_door
from tests.support.filled_ledger import LAST_DAY, fill
from tests.support.raw_http import RawConnection, RawReply, request_bytes

SILENCE_S = 5
MARGIN_S = 2  # for a busy machine
LOANS = 400_000
LONG_LOAN, EVENTS = LOANS + 1, 150_000
PORTFOLIO = f"/api/v1/portfolio/{LAST_DAY}?format=csv"
STATEMENT = f"/api/v1/loan/{LONG_LOAN}/statement?format=csv&from=2019-01-01&to={LAST_DAY}"
EXPLAINED_LOAN, EXPLAINED_EVENTS = LOANS + 2, 10_000  # no more events are explained in one reply
EXPLANATION = f"/api/v1/loan/{EXPLAINED_LOAN}/{LAST_DAY}?explain=true"
SMALL_BUFFER = 4096  # so that the service feels soon when a client does not read
ALLOWED_GROWTH = 25_000_000  # bytes; a reply has 15 million, and socket buffers belong to the kernel


@pytest.fixture(scope="module")
def database(databases):
    """A ledger whose portfolio and whose longest statement exceed what socket buffers hold."""
    with databases.create() as settings:
        with closing(connect(settings, "admin")) as connection:
            fill(connection, 1, LOANS, 0)
            fill(connection, LONG_LOAN, LONG_LOAN, EVENTS)
            fill(connection, EXPLAINED_LOAN, EXPLAINED_LOAN, EXPLAINED_EVENTS)
        yield settings


@pytest.fixture(scope="module")
def doors(database, keys_dir, tmp_path_factory):
    variables = {"SILENCE_TIMEOUT_S": str(SILENCE_S), "THREADS": "2"}
    with ExitStack() as stack:
        yield {
            "plain": stack.enter_context(open_door(database, keys_dir, **variables)),
            "TLS": stack.enter_context(open_door(database, keys_dir, tmp_path_factory.mktemp("tls"), **variables)),
        }


@pytest.fixture(params=["plain", "TLS"])
def door(doors, request) -> Door:
    return doors[request.param]


@pytest.fixture
def admin(database):
    with closing(connect(database, "admin")) as connection:
        yield connection


def begin(door: Door, target: str, bearer: dict[str, str]) -> RawConnection:
    """Request a long reply and read its start."""
    connection = door.connect(receive_buffer=SMALL_BUFFER)
    connection.send(request_bytes("GET", target, bearer))
    assert connection.peek_line() == "HTTP/1.1 200 OK"
    return connection


def streaming(admin) -> list[int]:
    """Return the backends that stream rows."""
    rows = sql(
        admin,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND state <> 'idle' AND xact_start IS NOT NULL",
    )
    return [pid for (pid,) in rows]


def until(condition, within_s: float) -> float:
    """Wait for a condition, and return the seconds that it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s
        time.sleep(0.02)
    return time.monotonic() - begun


def read_slowly(connection: RawConnection, pause_s: float) -> RawReply:
    connection.pause_s = pause_s
    reply = connection.read_reply()
    assert reply is not None
    return reply


def is_complete_portfolio(reply: RawReply) -> bool:
    """Return whether a portfolio ends with its total."""
    return reply.is_whole and reply.body.splitlines()[-1].startswith(f"{LAST_DAY},,".encode())


def test_a_slow_reader_gets_everything_and_memory_stays_flat(door, bearer, report_measurement):
    before = door.memory_bytes()
    largest = 0
    with ThreadPoolExecutor(1) as pool, begin(door, PORTFOLIO, bearer) as connection:
        reading = pool.submit(read_slowly, connection, 0.001)
        while not reading.done():
            largest = max(largest, door.memory_bytes())
            time.sleep(0.05)
        reply = reading.result()
    assert is_complete_portfolio(reply)
    assert reply.body.count(b"\r\n") > LOANS
    report_measurement(
        f"a portfolio of {len(reply.body) / 1e6:.1f} MB, read slowly: memory grew by {(largest - before) / 1e6:.1f} MB"
    )
    assert largest - before < ALLOWED_GROWTH


def test_a_reader_that_takes_nothing_loses_its_connection_and_its_query(door, bearer, admin):
    assert streaming(admin) == []
    with begin(door, PORTFOLIO, bearer) as connection:
        assert len(streaming(admin)) == 1
        took_s = until(lambda: not streaming(admin), SILENCE_S + MARGIN_S)
        assert took_s > SILENCE_S - 1
        until(lambda: not door.holds(connection), MARGIN_S)  # the client still has its end
        reply = connection.read_reply()  # what was on its way
        assert reply is not None
        assert not reply.is_whole
    reply = door.get(PORTFOLIO, bearer)  # needs the connection to Postgres that was used
    assert is_complete_portfolio(reply)


def test_a_reader_that_takes_nothing_of_a_reply_that_is_not_streamed_loses_its_connection(door, bearer):
    """A long JSON reply is made as a whole. It must not stay in memory for as long as the client likes."""
    assert door.get(EXPLANATION, bearer).is_whole  # the loan is cached from now on
    with begin(door, EXPLANATION, bearer) as connection:
        assert door.holds(connection)
        until(lambda: not door.holds(connection), SILENCE_S + MARGIN_S)  # the client still has its end
        reply = connection.read_reply()
        assert reply is not None
        assert not reply.is_whole


def test_a_slow_reader_of_a_reply_that_is_not_streamed_gets_everything(door, bearer):
    with begin(door, EXPLANATION, bearer) as connection:
        reply = read_slowly(connection, pause_s=0.005)
    assert (reply.status, reply.is_whole) == (200, True)


def test_a_reader_that_pauses_for_less_than_the_bound_loses_nothing(door, bearer):
    with begin(door, PORTFOLIO, bearer) as connection:
        time.sleep(SILENCE_S - 2)  # the rest is for a busy machine
        reply = connection.read_reply()
    assert reply is not None
    assert is_complete_portfolio(reply)


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_reader_that_leaves_ends_the_query(door, bearer, admin, leave):
    connection = begin(door, PORTFOLIO, bearer)
    assert len(streaming(admin)) == 1
    getattr(connection, leave)()
    until(lambda: not streaming(admin), SILENCE_S - 1)  # sooner than a silent reader's
    assert is_complete_portfolio(door.get(PORTFOLIO, bearer))


def test_a_reply_that_fails_midway_does_not_end_like_a_whole_one(door, bearer, admin):
    with begin(door, PORTFOLIO, bearer) as connection:
        (backend,) = streaming(admin)
        assert sql(admin, "SELECT pg_terminate_backend(%s, 2000)", backend) == [(True,)]
        reply = connection.read_reply()
        assert reply is not None
        assert (reply.status, reply.is_whole) == (200, False)
        assert not reply.body.splitlines()[-1].startswith(f"{LAST_DAY},,".encode())
        assert connection.is_ended(within_s=MARGIN_S)
    assert is_complete_portfolio(door.get(PORTFOLIO, bearer))


def test_slow_readers_hold_no_threads(door, bearer, report_measurement):
    """Three times as many readers as threads take nothing, and others are served."""
    assert door.get(STATEMENT, bearer).is_whole  # the loan is cached from now on
    before = door.memory_bytes()
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(begin(door, STATEMENT, bearer))
        uncached_s = max(door.time_s(f"/api/v1/loan/{number}/history", bearer) for number in range(1, 11))
        healthcheck_s = door.time_s("/healthcheck")
        grown = door.memory_bytes() - before
    report_measurement(
        f"beside 6 readers that take nothing: an uncached loan {uncached_s * 1000:.0f} ms, /healthcheck "
        f"{healthcheck_s * 1000:.0f} ms; memory grew by {grown / 1e6:.1f} MB"
    )
    assert max(uncached_s, healthcheck_s) < 1
    assert grown < ALLOWED_GROWTH


def test_slow_readers_do_not_hold_the_bodies_of_their_requests(database, keys_dir, bearer):
    """A worker holds few bodies at a time, so 16 readers that had sent the largest body would let no other one in."""
    body = b"x" * MAX_BODY_BYTES
    with open_door(database, keys_dir, SILENCE_TIMEOUT_S="60") as door, ExitStack() as stack:
        for _ in range(17):
            connection = stack.enter_context(door.connect(receive_buffer=SMALL_BUFFER))
            connection.send(request_bytes("GET", STATEMENT, bearer, body))
            assert connection.peek_line() == "HTTP/1.1 200 OK"
        reply = door.send(request_bytes("POST", "/token", FORM, TOKEN_FORM))
    assert reply is not None
    assert reply.status == 200


@pytest.mark.parametrize("target", [PORTFOLIO, STATEMENT])
def test_head_has_no_body_and_leaves_no_query(door, bearer, admin, target):
    """RFC 9110, section 9.3.2."""
    with door.connect() as connection:
        connection.send(request_bytes("HEAD", target, bearer) + request_bytes("GET", "/version"))
        reply = connection.read_reply(head=True)
        following = connection.read_reply()
    assert reply is not None
    assert reply.status == 200
    assert following is not None
    assert following.status == 200
    until(lambda: not streaming(admin), MARGIN_S)


def test_a_long_reply_to_http_1_0_is_not_chunked(door, bearer):
    """RFC 9112, section 6.1: a server must not send Transfer-Encoding to HTTP/1.0."""
    data = request_bytes("GET", STATEMENT, bearer).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with door.connect() as connection:
        connection.send(data)
        reply = connection.read_reply()
    assert reply is not None
    assert reply.header("Transfer-Encoding") is None
    assert reply.body.count(b"\r\n") == EVENTS + 4  # with the head, the principal, and the first and the last balance
