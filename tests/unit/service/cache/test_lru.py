"""What one process keeps."""

import threading

from service.cache.lru import OVERHEAD_BYTES, TimelineLru
from tests.support.cached import look_up


def test_what_is_kept_is_found_under_its_cluster_only(make):
    recent = TimelineLru(1_000_000)
    kept = make()
    recent.put_many("a", [kept])
    assert look_up(recent, "a", 1) is kept
    assert look_up(recent, "b", 1) is None
    assert look_up(recent, "a", 2) is None


def test_a_slow_reader_does_not_replace_what_is_newer(make):
    recent = TimelineLru(1_000_000)
    for timeline in (make(version=4, horizon=9), make(version=3, horizon=10), make(version=4, horizon=8)):
        recent.put_many("a", [timeline])
    assert (look_up(recent, "a", 1).version, look_up(recent, "a", 1).horizon) == (4, 9)
    recent.put_many("a", [make(version=4, horizon=10)])
    assert look_up(recent, "a", 1).horizon == 10


def test_the_bytes_are_bounded_and_what_was_used_last_stays(make):
    each = make().nbytes + OVERHEAD_BYTES
    recent = TimelineLru(3 * each)
    for loan in (1, 2, 3):
        recent.put_many("a", [make(loan)])
    look_up(recent, "a", 1)
    recent.put_many("a", [make(4)])
    assert [look_up(recent, "a", loan) is not None for loan in (1, 2, 3, 4)] == [True, False, True, True]


def test_what_is_larger_than_everything_is_not_kept(make):
    recent = TimelineLru(OVERHEAD_BYTES + 200)
    recent.put_many("a", [make(events=3)])
    recent.put_many("a", [make(loan_id=2, events=1000)])
    assert look_up(recent, "a", 1) is not None
    assert look_up(recent, "a", 2) is None


def test_nothing_is_kept_in_no_bytes(make):
    recent = TimelineLru(0)
    recent.put_many("a", [make()])
    assert look_up(recent, "a", 1) is None


def test_many_threads_may_use_it(make):
    recent = TimelineLru(20 * (make().nbytes + OVERHEAD_BYTES))
    timelines = [make(loan) for loan in range(1, 101)]
    failures = []

    def use():
        try:
            for _ in range(20):
                for timeline in timelines:
                    recent.put_many("a", [timeline])
                    found = look_up(recent, "a", timeline.loan_id)
                    assert found is None or found.loan_id == timeline.loan_id
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
