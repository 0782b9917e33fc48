"""A service whose threads are all busy answers probes and cached balances, and refuses the rest without delay."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count

import pytest

from service.postgres.connect import connect
from tests.conftest import load_ledger
from tests.support.door import FORM, open_door
from tests.support.raw_http import RawReply, request_bytes

THREADS, QUEUE = 2, 3
CALLERS = 12
BUSY_S = 1.0  # allowance for a busy machine
GUESSERS = 20
FLOOR_S = 0.05  # a percentile of a busy machine varies by as much
CACHED, UNCACHED = "/api/v1/loan/1/2020-02-29", "/api/v1/loan/2/history?from=2020-01-01&to=2020-02-01"


@pytest.fixture(scope="module")
def database(databases, tmp_path_factory):
    with databases.create() as settings:
        with closing(connect(settings, "posting")) as connection:
            load_ledger(connection, tmp_path_factory.mktemp("ledger"))
        yield settings


@pytest.fixture(scope="module")
def door(database, keys_dir):
    limits = {"THREADS": str(THREADS), "QUEUE_SIZE": str(QUEUE), "PSQL_STATEMENT_TIMEOUT_S": "30"}
    with open_door(database, keys_dir, **limits) as door:
        yield door


@contextmanager
def locked_loans(database):
    """Keep every query of a loan waiting until the end of the block."""
    with closing(connect(database, "admin")) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE loans IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def test_a_full_queue_is_503_while_probes_and_cached_balances_are_answered(door, database, bearer):
    """RFC 9110, section 15.6.4: 503 with Retry-After."""
    assert door.get(CACHED, bearer).status == 200  # the loan and the token are cached from now on
    replies: list[tuple[float, RawReply]] = []

    def call() -> None:
        begun = time.monotonic()
        reply = door.get(UNCACHED, bearer, timeout_s=60)
        replies.append((time.monotonic() - begun, reply))

    with ThreadPoolExecutor(CALLERS) as callers:
        with locked_loans(database):
            waiting = [callers.submit(call) for _ in range(CALLERS)]
            deadline = time.monotonic() + 10
            while len(replies) < CALLERS - THREADS - QUEUE and time.monotonic() < deadline:
                time.sleep(0.02)
            refused = list(replies)
            probes_s = {path: door.time_s(path) for path in ("/healthcheck", "/ready")}
            cached_s = door.time_s(CACHED, bearer)
            refused_late = door.get(UNCACHED, bearer)
        for each in waiting:
            each.result(30)
    assert len(refused) == CALLERS - THREADS - QUEUE
    for took_s, reply in [*refused, (0.0, refused_late)]:
        assert reply.status == 503
        assert int(reply.header("Retry-After") or 0) > 0
        assert reply.header("Content-Type") == "application/problem+json"
        assert took_s < BUSY_S
    assert max(*probes_s.values(), cached_s) < BUSY_S
    assert [reply.status for _, reply in replies].count(200) == THREADS + QUEUE  # those that were queued


@pytest.mark.parametrize("target", ["/token", "//token", "/%74oken"])
def test_guessers_of_secrets_do_not_delay_a_cached_balance(door, bearer, target, report_measurement):
    """Argon2 takes tens of milliseconds of a processor for each guess; every guess has another client and address."""
    assert door.get(CACHED, bearer).status == 200
    usual_s = door.p99_s(CACHED, bearer)
    stop, numbers, statuses = threading.Event(), count(1), []

    def guess() -> None:
        while not stop.is_set():
            number = next(numbers)
            body = f"grant_type=client_credentials&client_id=guess-{number}&client_secret=wrong-{number}".encode()
            headers = {**FORM, "X-Forwarded-For": f"203.0.{number // 250 % 250}.{number % 250}"}
            reply = door.send(request_bytes("POST", target, headers, body), timeout_s=60)
            statuses.append(reply and reply.status)
            time.sleep(0.01)

    guessers = [threading.Thread(target=guess) for _ in range(GUESSERS)]
    for each in guessers:
        each.start()
    try:
        time.sleep(0.5)
        under_load_s = door.p99_s(CACHED, bearer)
        healthcheck_s = max(door.time_s("/healthcheck") for _ in range(5))
        uncached_s = max(door.time_s(UNCACHED, bearer) for _ in range(3))
    finally:
        stop.set()
        for each in guessers:
            each.join()
    report_measurement(
        f"{GUESSERS} guessers, {len(statuses)} guesses: p99 of a cached balance {under_load_s * 1000:.1f} ms, alone "
        f"{usual_s * 1000:.1f} ms; /healthcheck {healthcheck_s * 1000:.0f} ms, "
        f"an uncached loan {uncached_s * 1000:.0f} ms"
    )
    assert set(statuses) <= {401, 429}
    assert 401 in statuses
    assert under_load_s < 3 * max(usual_s, FLOOR_S)
    assert max(healthcheck_s, uncached_s) < BUSY_S
