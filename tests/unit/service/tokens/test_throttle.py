"""Guessing secrets is throttled; other clients are not affected."""

import gc
import sqlite3
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.tokens.throttle import AttemptThrottle
from tests.fakes.clocks import Clock


@pytest.fixture
def clock():
    return Clock(1_800_000_000.0)


@pytest.fixture
def attempts(clock):
    throttle = AttemptThrottle(now=clock)
    yield throttle
    throttle.close()


def guess(attempts, times: int, client: str = "reports", address: str = "10.0.0.1") -> int:
    """Try wrong secrets in a row, and return how many are checked."""
    checked = 0
    for _ in range(times):
        if not attempts.retry_after_s(client, address):
            attempts.record_failure(client, address)
            checked += 1
    return checked


def test_after_five_failures_a_client_may_try_once_every_ten_seconds(attempts, clock):
    assert guess(attempts, 1000) == 5
    assert attempts.retry_after_s("reports", "10.0.0.1") == 10
    clock.now += 9.5
    assert attempts.retry_after_s("reports", "10.0.0.1") == 1
    clock.now += 0.5
    assert guess(attempts, 1000) == 1
    clock.now += 50
    assert guess(attempts, 1000) == 5


def test_each_guess_of_an_attempt_counts(attempts, clock):
    """An attempt that tries two secrets must not double the rate of guesses."""
    guesses = 0
    for _ in range(100):
        if not attempts.retry_after_s("reports", "10.0.0.1"):
            attempts.record_failure("reports", "10.0.0.1", guesses=2)
            guesses += 2
    assert guesses == 6
    for _ in range(1000):
        clock.now += 1
        if not attempts.retry_after_s("reports", "10.0.0.1"):
            attempts.record_failure("reports", "10.0.0.1", guesses=2)
            guesses += 2
    assert guesses == 6 + 1000 / 10


def test_rejected_attempts_do_not_extend_the_wait(attempts, clock):
    guess(attempts, 1000)
    clock.now += 5
    guess(attempts, 1000)
    assert attempts.retry_after_s("reports", "10.0.0.1") == 5


def test_guessing_one_client_does_not_throttle_others_at_the_same_address(attempts):
    guess(attempts, 1000)
    assert attempts.retry_after_s("billing", "10.0.0.1") == 0


def test_guessing_one_client_from_many_addresses_is_throttled(attempts, clock):
    assert sum(guess(attempts, 5, address=f"10.0.0.{n}") for n in range(100)) == 20
    assert attempts.retry_after_s("reports", "10.9.9.9") == 5
    clock.now += 5
    assert sum(guess(attempts, 5, address=f"10.0.1.{n}") for n in range(100)) == 1


def test_guessing_many_clients_from_one_address_is_throttled(attempts):
    assert sum(guess(attempts, 5, client=f"client-{n}") for n in range(1000)) == 1000
    assert attempts.retry_after_s("another", "10.0.0.1") == 1
    assert attempts.retry_after_s("another", "10.0.0.2") == 0


def test_simultaneous_failures_do_not_extend_the_wait(attempts):
    for _ in range(50):
        attempts.record_failure("reports", "10.0.0.1")
    assert attempts.retry_after_s("reports", "10.0.0.1") == 10


def test_attempts_of_one_client_from_one_address_are_serialized(attempts):
    checked = []

    def attempt() -> None:
        with attempts.serialize("reports", "10.0.0.1"):
            if not attempts.retry_after_s("reports", "10.0.0.1"):
                checked.append(1)
                time.sleep(0.001)
                attempts.record_failure("reports", "10.0.0.1")

    with ThreadPoolExecutor(16) as pool:
        for _ in range(100):
            pool.submit(attempt)
    assert len(checked) == 5


def test_without_a_shared_database_failures_are_counted_per_process(tmp_path, clock, caplog):
    attempts = AttemptThrottle(tmp_path / "gone" / "attempts", clock)
    assert "counting failures per process" in caplog.text
    assert guess(attempts, 1000) == 5


def test_ipv6_addresses_of_one_network_count_as_one(attempts):
    assert sum(guess(attempts, 5, address=f"2001:db8::{n:x}") for n in range(100)) == 5
    assert attempts.retry_after_s("reports", "2001:db8:0:1::1") == 0


def test_a_recently_authenticated_client_is_not_locked_out_by_guesses_of_others(attempts, clock):
    attempts.record_success("reports", "10.0.0.1")
    for n in range(2, 100):
        guess(attempts, 5, address=f"10.0.0.{n}")
    for n in range(1000):
        guess(attempts, 1, client=f"client-{n}")
    assert attempts.retry_after_s("reports", "10.0.0.1") == 0
    clock.now += 86_400
    for n in range(2, 100):
        guess(attempts, 5, address=f"10.0.0.{n}")
    assert attempts.retry_after_s("reports", "10.0.0.1") > 0


def test_a_recently_authenticated_client_is_still_throttled(attempts):
    attempts.record_success("reports", "10.0.0.1")
    assert guess(attempts, 1000) == 5


def test_processes_share_the_counts(tmp_path, clock):
    first, second = AttemptThrottle(tmp_path / "attempts", clock), AttemptThrottle(tmp_path / "attempts", clock)
    assert guess(first, 3) == 3
    assert guess(second, 1000) == 2
    assert first.retry_after_s("reports", "10.0.0.1") == 10


def test_expired_counts_are_deleted(tmp_path, clock):
    attempts = AttemptThrottle(tmp_path / "attempts", clock)
    for n in range(20):
        attempts.record_failure(f"client-{n}", f"10.0.0.{n}")
    clock.now += 60
    attempts.record_failure("one", "10.0.0.1")
    with sqlite3.connect(tmp_path / "attempts") as database:
        kept = database.execute("SELECT count(*) FROM buckets").fetchone()
    database.close()
    assert kept == (3,)


def test_names_of_any_kind_and_length_are_counted_separately(attempts):
    names = ["x" * 500_000, "\ud800", "a 1:b", "a", "", "1:a"]
    for name in names:
        assert guess(attempts, 5, client=name, address=f"10.1.0.{names.index(name)}") == 5


def test_attempts_are_allowed_if_the_database_fails(tmp_path, clock, caplog):
    attempts = AttemptThrottle(tmp_path / "attempts", clock)
    guess(attempts, 1000)
    attempts._database.execute("DROP TABLE buckets")
    assert attempts.retry_after_s("reports", "10.0.0.1") == 0
    attempts.record_failure("reports", "10.0.0.1")
    attempts.record_success("reports", "10.0.0.1")
    assert caplog.text.count("cannot read failed attempts") == 1
    assert caplog.text.count("cannot record an attempt") == 2


def test_statements_run_without_warnings(tmp_path, clock):
    """Python 3.12.1 and later warn of numbered placeholders with a sequence of values."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attempts = AttemptThrottle(tmp_path / "attempts", clock)
        guess(attempts, 10)
        attempts.record_success("reports", "10.0.0.1")
        attempts.record_success("reports", "10.0.0.1")
        attempts.close()


def test_every_connection_is_closed(tmp_path, clock, monkeypatch):
    """Python 3.13 and later warn of open connections, which nobody sees in a finalizer."""
    opened = []

    class Connection(sqlite3.Connection):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            opened.append(self)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Connection, **options))
    (tmp_path / "broken").write_bytes(b"not a database" * 100)
    for path in (tmp_path / "broken", tmp_path / "attempts", None):
        attempts = AttemptThrottle(path, clock)
        attempts.close()
        attempts.close()
        del attempts
    AttemptThrottle(None, clock)  # dropped without close()
    gc.collect()
    assert len(opened) == 5
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_interpreter_closes_the_database_at_its_end(tmp_path):
    code = (
        "import sys; from pathlib import Path; from service.tokens.throttle import AttemptThrottle;"
        " attempts = AttemptThrottle(Path(sys.argv[1])); attempts.record_failure('a', '10.0.0.1')"
    )
    path = tmp_path / "attempts"
    ended = subprocess.run([sys.executable, "-X", "dev", "-c", code, path], capture_output=True, text=True, check=True)
    assert "ResourceWarning" not in ended.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["attempts"]  # closing removes the write-ahead log
