"""Checks in the background: the life of their thread."""

import gc
import threading
import time

from security.background_check import BackgroundCheck
from tests.support.waiting import wait_until


class Runs:
    """Records the threads that run its check."""

    def __init__(self):
        self.threads = []

    def check(self) -> None:
        self.threads.append(threading.current_thread())


def test_thread_ends_without_use_and_starts_again():
    runs = Runs()
    checks = BackgroundCheck(runs.check, interval_s=0.01, idle_s=0.05)
    checks.start()
    wait_until(lambda: runs.threads)
    first = runs.threads[0]
    first.join(5)
    assert not first.is_alive()
    checks.keep_running()  # notes a use, without a thread to see it
    count = len(runs.threads)
    time.sleep(0.05)
    assert len(runs.threads) == count
    checks.start()
    wait_until(lambda: runs.threads[-1] is not first)
    runs.threads[-1].join(5)


def test_thread_continues_while_it_is_used():
    runs = Runs()
    checks = BackgroundCheck(runs.check, interval_s=0.01, idle_s=0.2)
    checks.start()
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        checks.keep_running()
        time.sleep(0.01)
    assert len(set(runs.threads)) == 1
    assert runs.threads[0].is_alive()
    runs.threads[0].join(5)


def test_one_thread_serves_all_users():
    runs = Runs()
    checks = BackgroundCheck(runs.check, interval_s=0.01, idle_s=0.1)
    users = [threading.Thread(target=checks.start) for _ in range(16)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    wait_until(lambda: runs.threads)
    runs.threads[0].join(5)
    assert len(set(runs.threads)) == 1


def test_thread_ends_with_the_object_of_the_check():
    runs = Runs()
    threads = runs.threads
    checks = BackgroundCheck(runs.check, interval_s=0.01, idle_s=60)
    checks.start()
    wait_until(lambda: threads)
    del runs
    gc.collect()
    threads[0].join(5)
    assert not threads[0].is_alive()
