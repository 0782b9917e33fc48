"""Checks in the background: the life of their thread."""

import threading
import time

from security.background_check import BackgroundCheck
from tests.support.waiting import wait_until


def test_thread_ends_without_use_and_starts_again():
    runs = []
    checks = BackgroundCheck(lambda: runs.append(threading.current_thread()), interval_s=0.01, idle_s=0.05)
    checks.start()
    wait_until(lambda: runs)
    runs[0].join(5)
    assert not runs[0].is_alive()
    checks.keep_running()  # notes a use, without a thread to see it
    count = len(runs)
    time.sleep(0.05)
    assert len(runs) == count
    checks.start()
    wait_until(lambda: runs[-1] is not runs[0])
    runs[-1].join(5)


def test_thread_continues_while_it_is_used():
    runs = []
    checks = BackgroundCheck(lambda: runs.append(threading.current_thread()), interval_s=0.01, idle_s=0.2)
    checks.start()
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        checks.keep_running()
        time.sleep(0.01)
    assert len(set(runs)) == 1
    assert runs[0].is_alive()
    runs[0].join(5)


def test_one_thread_serves_all_users():
    runs = []
    checks = BackgroundCheck(lambda: runs.append(threading.current_thread()), interval_s=0.01, idle_s=0.1)
    users = [threading.Thread(target=checks.start) for _ in range(16)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    wait_until(lambda: runs)
    runs[0].join(5)
    assert len(set(runs)) == 1
