"""The ids of requests."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.observability.request_id import accept_id, next_id
from tests.conftest import ROOT

FORK = """
import os
from service.observability.request_id import next_id
next_id()
for _ in range(3):
    if not os.fork():
        os.write(1, (next_id() + "\\n").encode())
        os._exit(0)
    os.wait()
print(next_id())
"""


def test_ids_of_many_threads_differ():
    with ThreadPoolExecutor(8) as pool:
        ids = [id_ for part in pool.map(lambda _: [next_id() for _ in range(5_000)], range(8)) for id_ in part]
    assert len(set(ids)) == 40_000
    assert all(re.fullmatch("[0-9a-f]{32}", id_) and accept_id(id_) == id_ for id_ in ids)


def test_ids_of_forked_and_restarted_processes_have_different_random_parts():
    def run() -> list[str]:
        done = subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.split()

    ids = run() + run()
    assert len({id_[:20] for id_ in ids}) == len(ids) == 8


@pytest.mark.parametrize("given", ["a", "7dd8722b-5604#3", "a_b.c:d", "x" * 128])
def test_an_id_of_a_proxy_is_accepted(given):
    assert accept_id(given) == accept_id(given.encode()) == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "é", '"', "a\n", "\u0661"])
def test_an_id_with_other_characters_is_not_accepted(given):
    assert accept_id(given) is None
    assert accept_id(given.encode()) is None
