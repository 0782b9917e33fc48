"""Wrong secrets are counted: whoever guesses is slowed, and nobody else."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.tokens.throttle import AttemptThrottle
from tests.fakes.clocks import Clock


@pytest.fixture
def clock():
    return Clock(1_800_000_000.0)


@pytest.fixture
def attempts(clock):
    return AttemptThrottle(now=clock)


def guess(attempts, times: int, client: str = "reports", address: str = "10.0.0.1") -> int:
    """How many of so many wrong secrets in a row are looked at."""
    seen = 0
    for _ in range(times):
        if not attempts.wait_s(client, address):
            attempts.failed(client, address)
            seen += 1
    return seen


def test_a_client_at_an_address_has_five_tries_and_then_one_in_ten_seconds(attempts, clock):
    assert guess(attempts, 1000) == 5
    assert attempts.wait_s("reports", "10.0.0.1") == 10
    clock.now += 9.5
    assert attempts.wait_s("reports", "10.0.0.1") == 1
    clock.now += 0.5
    assert guess(attempts, 1000) == 1
    clock.now += 50
    assert guess(attempts, 1000) == 5


def test_asking_while_one_has_to_wait_makes_it_no_longer(attempts, clock):
    guess(attempts, 1000)
    clock.now += 5
    guess(attempts, 1000)
    assert attempts.wait_s("reports", "10.0.0.1") == 5


def test_guessing_one_client_slows_no_other_at_the_same_address(attempts):
    guess(attempts, 1000)
    assert attempts.wait_s("billing", "10.0.0.1") == 0


def test_guessing_from_many_addresses_is_slowed_for_the_client(attempts, clock):
    assert sum(guess(attempts, 5, address=f"10.0.0.{n}") for n in range(100)) == 20
    assert attempts.wait_s("reports", "10.9.9.9") == 5
    clock.now += 5
    assert sum(guess(attempts, 5, address=f"10.0.1.{n}") for n in range(100)) == 1


def test_guessing_many_clients_is_slowed_for_the_address(attempts):
    assert sum(guess(attempts, 5, client=f"client-{n}") for n in range(1000)) == 1000
    assert attempts.wait_s("another", "10.0.0.1") == 1
    assert attempts.wait_s("another", "10.0.0.2") == 0


def test_failures_that_come_together_make_nobody_wait_longer(attempts):
    for _ in range(50):
        attempts.failed("reports", "10.0.0.1")
    assert attempts.wait_s("reports", "10.0.0.1") == 10


def test_attempts_of_one_client_follow_each_other_and_hold_up_no_other(attempts):
    looked = []

    def attempt() -> None:
        with attempts.turn("reports", "10.0.0.1"):
            if not attempts.wait_s("reports", "10.0.0.1"):
                looked.append(1)
                time.sleep(0.001)
                attempts.failed("reports", "10.0.0.1")

    with ThreadPoolExecutor(16) as pool:
        for _ in range(100):
            pool.submit(attempt)
    assert len(looked) == 5


def test_a_database_that_cannot_be_opened_is_logged(tmp_path, clock, caplog):
    attempts = AttemptThrottle(tmp_path / "gone" / "attempts", clock)
    assert "by each process for itself" in caplog.text
    assert guess(attempts, 1000) == 5


def test_addresses_of_one_network_count_as_one(attempts):
    assert sum(guess(attempts, 5, address=f"2001:db8::{n:x}") for n in range(100)) == 5
    assert attempts.wait_s("reports", "2001:db8:0:1::1") == 0


def test_who_has_proved_themselves_at_an_address_is_not_locked_out_by_others(attempts, clock):
    attempts.succeeded("reports", "10.0.0.1")
    for n in range(2, 100):
        guess(attempts, 5, address=f"10.0.0.{n}")
    for n in range(1000):
        guess(attempts, 1, client=f"client-{n}")
    assert attempts.wait_s("reports", "10.0.0.1") == 0
    clock.now += 86_400
    for n in range(2, 100):
        guess(attempts, 5, address=f"10.0.0.{n}")
    assert attempts.wait_s("reports", "10.0.0.1") > 0


def test_trust_does_not_open_the_door_to_guessing(attempts):
    attempts.succeeded("reports", "10.0.0.1")
    assert guess(attempts, 1000) == 5


def test_processes_count_together(tmp_path, clock):
    first, second = AttemptThrottle(tmp_path / "attempts", clock), AttemptThrottle(tmp_path / "attempts", clock)
    assert guess(first, 3) == 3
    assert guess(second, 1000) == 2
    assert first.wait_s("reports", "10.0.0.1") == 10


def test_what_is_over_is_forgotten(tmp_path, clock):
    attempts = AttemptThrottle(tmp_path / "attempts", clock)
    for n in range(20):
        attempts.failed(f"client-{n}", f"10.0.0.{n}")
    clock.now += 60
    attempts.failed("one", "10.0.0.1")
    with sqlite3.connect(tmp_path / "attempts") as database:
        kept = database.execute("SELECT count(*) FROM meters").fetchone()
    database.close()
    assert kept == (3,)


def test_names_of_any_kind_and_length_are_counted_apart(attempts):
    names = ["x" * 500_000, "\ud800", "a 1:b", "a", "", "1:a"]
    for name in names:
        assert guess(attempts, 5, client=name, address=f"10.1.0.{names.index(name)}") == 5


def test_a_database_that_does_not_work_is_logged_and_holds_nobody_up(tmp_path, clock, caplog):
    attempts = AttemptThrottle(tmp_path / "attempts", clock)
    guess(attempts, 1000)
    attempts._database.execute("DROP TABLE meters")
    assert attempts.wait_s("reports", "10.0.0.1") == 0
    attempts.failed("reports", "10.0.0.1")
    attempts.succeeded("reports", "10.0.0.1")
    assert caplog.text.count("failed attempts are not counted") == 3
