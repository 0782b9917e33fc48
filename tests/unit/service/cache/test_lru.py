"""The cache within a process."""

import threading

from service.cache.lru import OVERHEAD_BYTES, TimelineLru
from tests.support.cached import cached


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


def test_the_least_cachely_used_timeline_is_evicted_at_the_size_limit(make):
    size = make().nbytes + OVERHEAD_BYTES
    cache = TimelineLru(3 * size)
    for loan in (1, 2, 3):
        cache.put_many("a", [make(loan)])
    cached(cache, "a", 1)
    cache.put_many("a", [make(4)])
    assert [cached(cache, "a", loan) is not None for loan in (1, 2, 3, 4)] == [True, False, True, True]


def test_a_timeline_larger_than_the_cache_is_not_cached(make):
    cache = TimelineLru(OVERHEAD_BYTES + 200)
    cache.put_many("a", [make(events=3)])
    cache.put_many("a", [make(loan_id=2, events=1000)])
    assert cached(cache, "a", 1) is not None
    assert cached(cache, "a", 2) is None


def test_a_size_of_zero_disables_the_cache(make):
    cache = TimelineLru(0)
    cache.put_many("a", [make()])
    assert cached(cache, "a", 1) is None


def test_threads_can_share_the_cache(make):
    cache = TimelineLru(20 * (make().nbytes + OVERHEAD_BYTES))
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
