"""The cache within a process."""

import os
import platform
import subprocess
import sys
import threading

import pytest

import native
from service.cache.lru import ENTRY_BYTES, TimelineLru
from tests.conftest import ROOT
from tests.support.cached import cached

# Prints the growth of a process's memory while a cache is filled, and what the cache says that it holds.
FILL = """
import ctypes, gc, os, sys
from service.cache.lru import TimelineLru
from tests.bench.memory import build_timeline

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # returns what imports have freed, which the cache would reuse
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

cache = TimelineLru(int(sys.argv[1]))
loan_id, events = 0, int(sys.argv[2])
build_timeline(1, events)
before = resident()
while True:
    loan_id += 1
    held = cache.nbytes
    cache.put_many("a", [build_timeline(loan_id, events)])
    if cache.nbytes == held:  # a loan was evicted for this one
        break
print(resident() - before, cache.nbytes)
"""


def size(timeline):
    return sys.getsizeof(timeline) + ENTRY_BYTES


def test_a_timeline_is_found_only_under_its_own_cluster(make):
    cache = TimelineLru(1_000_000)
    timeline = make()
    cache.put_many("a", [timeline])
    assert cached(cache, "a", 1) is timeline
    assert cached(cache, "b", 1) is None
    assert cached(cache, "a", 2) is None


def test_an_older_timeline_does_not_replace_a_newer_one(make):
    cache = TimelineLru(1_000_000)
    for timeline in (make(version=4, horizon=9), make(version=3, horizon=10), make(version=4, horizon=8)):
        cache.put_many("a", [timeline])
    assert (cached(cache, "a", 1).version, cached(cache, "a", 1).horizon) == (4, 9)
    cache.put_many("a", [make(version=4, horizon=10)])
    assert cached(cache, "a", 1).horizon == 10


def test_timelines_of_another_cluster_are_dropped(make):
    cache = TimelineLru(1_000_000)
    cache.put_many("a", [make(1), make(2)])
    cache.put_many("b", [make(3)])
    assert [cached(cache, cluster, loan) is not None for cluster, loan in (("a", 1), ("b", 1), ("b", 3))] == [
        False, False, True,
    ]  # fmt: skip
    assert cache.nbytes == size(make(3))


def test_a_replaced_timeline_no_longer_counts(make):
    cache = TimelineLru(1_000_000)
    cache.put_many("a", [make(events=3)])
    cache.put_many("a", [make(events=30)])
    assert cache.nbytes == size(make(events=30))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="reads /proc and calls malloc_trim")
@pytest.mark.parametrize("events", [1, 20])
@pytest.mark.parametrize("build", ["compiled", "interpreted"])
def test_the_size_of_a_full_cache_is_the_memory_that_it_occupies(build, events):
    if build == "compiled" and native.compiled_file("timeline") is None:
        pytest.skip("the compiled core is missing; run `make build` (needs a C compiler)")
    command = [sys.executable, "-c", FILL, "12000000", str(events)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "LOANER_NATIVE": build}, capture_output=True, text=True, check=True
    )
    occupied, counted = map(int, done.stdout.split())
    assert counted > 11_900_000
    assert 0.92 < occupied / counted < 1.08


def test_the_least_recently_used_timeline_is_evicted_at_the_size_limit(make):
    cache = TimelineLru(3 * size(make()))
    for loan in (1, 2, 3):
        cache.put_many("a", [make(loan)])
    cached(cache, "a", 1)
    cache.put_many("a", [make(4)])
    assert [cached(cache, "a", loan) is not None for loan in (1, 2, 3, 4)] == [True, False, True, True]


def test_a_timeline_larger_than_the_cache_is_not_cached(make):
    cache = TimelineLru(size(make(events=3)))
    cache.put_many("a", [make(events=3)])
    cache.put_many("a", [make(loan_id=2, events=1000)])
    assert cached(cache, "a", 1) is not None
    assert cached(cache, "a", 2) is None


def test_a_size_of_zero_disables_the_cache(make):
    cache = TimelineLru(0)
    cache.put_many("a", [make()])
    assert cached(cache, "a", 1) is None


def test_a_reader_does_not_wait_for_a_writer(make):
    cache = TimelineLru(1_000_000)
    stored, finish = threading.Event(), threading.Event()

    def slowly():
        yield make(1)
        stored.set()
        assert finish.wait(10)

    writer = threading.Thread(target=cache.put_many, args=("a", slowly()))
    found = []
    reader = threading.Thread(target=lambda: found.append(cache.get("a", 1)))
    writer.start()
    assert stored.wait(10)
    reader.start()
    reader.join(5)
    finish.set()
    writer.join()
    assert len(found) == 1
    assert found[0] is not None


def test_threads_can_share_the_cache(make):
    cache = TimelineLru(20 * size(make()))
    timelines = [make(loan) for loan in range(1, 101)]
    failures = []

    def use():
        try:
            for _ in range(20):
                for timeline in timelines:
                    cache.put_many("a", [timeline])
                    found = cached(cache, "a", timeline.loan_id)
                    assert found is None or found.loan_id == timeline.loan_id
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert 0 < cache.nbytes <= 20 * size(make())
    assert cache.nbytes == sum(size(each) for each in cache.get_many("a", range(1, 101)).values())
