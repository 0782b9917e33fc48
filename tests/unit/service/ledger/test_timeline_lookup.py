"""Looks up timelines over fake ledgers and caches."""

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from native import FEE, Timeline
from service.errors import DatabaseUnavailable, UnknownLoan, VersionNotReached
from service.ledger.freshness import Freshness
from service.ledger.repository import NOTHING_CACHED
from service.ledger.single_flight import SingleFlight
from service.ledger.timeline_lookup import TimelineLookup
from service.observability import batches
from tests.fakes.clocks import Clock

MAX_STALENESS_S = 5


def timeline(version, horizon, loan_id=1):
    return Timeline.build(
        loan_id=loan_id, version=version, horizon=horizon, start_day=18_000, initial=100, currency="USD", exponent=2,
        days=[18_000] * version, kinds=[FEE] * version, amounts=[1] * version, tx_ids=range(version),
        versions=range(1, version + 1), recorded_at=[0] * version, reverses=[0] * version,
    )  # fmt: skip


class FakeLedger:
    """A ledger with one timeline that records its reads; `during_read` runs in each of them."""

    def __init__(self, version=3, horizon=10):
        self.current = timeline(version, horizon)
        self.reads = []
        self.error = None
        self.during_read = lambda: None

    def timelines(self, loan_ids, cached=NOTHING_CACHED, cluster=None):
        own = cached.get(self.current.loan_id)
        self.reads.append("whole" if own is None or own.version != self.current.version else "version")
        self.during_read()
        if isinstance(self.error, UnknownLoan) or self.current.loan_id not in loan_ids:
            return {}
        if self.error is not None:
            raise self.error
        if own is not None and own.version == self.current.version:
            return {own.loan_id: own if own.horizon == self.current.horizon else own.with_horizon(self.current.horizon)}
        return {self.current.loan_id: self.current}

    def timeline_at(self, loan_id, version, cluster=None):
        self.reads.append(f"at {version}")
        if self.error is not None:
            raise self.error
        if self.current.version < version:
            raise VersionNotReached(loan_id, self.current.version, version)
        return timeline(version, self.current.horizon)


class FakeCache(dict):
    """A cache that never evicts."""

    def get(self, cluster, loan_id):
        return super().get((cluster, loan_id))

    def get_many(self, cluster, loan_ids):
        return {loan_id: self[cluster, loan_id] for loan_id in loan_ids if (cluster, loan_id) in self}

    def put_many(self, cluster, timelines):
        for timeline in timelines:
            self[cluster, timeline.loan_id] = timeline


@contextmanager
def counted(label, metric="loaner_timelines_total", name="layer"):
    """Yield a function that returns by how much a counter has increased."""

    def value():
        batches.flush()
        return REGISTRY.get_sample_value(metric, {name: label}) or 0

    before = value()
    yield lambda: value() - before


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def freshness(clock):
    freshness = Freshness(MAX_STALENESS_S, now=clock)
    freshness.on_listen("c", 10, clock())
    return freshness


@pytest.fixture
def layers(freshness):
    """Two caches, a primary, and a lookup over them."""
    near, far, primary = FakeCache(), FakeCache(), FakeLedger()
    return near, far, primary, TimelineLookup(primary, freshness, caches=(near, far))


def test_a_timeline_is_read_once_and_cached_in_every_layer(layers):
    near, far, primary, lookup = layers
    found = [lookup.get(1).timeline for _ in range(3)]
    assert primary.reads == ["whole"]
    assert found[0] is found[1] is found[2] is near.get("c", 1) is far.get("c", 1)


def test_a_timeline_in_the_shared_cache_is_copied_to_the_near_one(layers):
    near, far, primary, lookup = layers
    far.put_many("c", [timeline(3, 10)])
    lookup.get(1)
    lookup.get(1)
    assert primary.reads == []
    assert near.get("c", 1) is far.get("c", 1)


def test_a_timeline_in_the_process_is_returned_without_reading_elsewhere(layers):
    near, far, primary, lookup = layers
    near.put_many("c", [timeline(3, 10)])
    far.put_many("c", [timeline(3, 10, loan_id=2)])
    with counted("process") as hits:
        found = lookup.get_cached(1)
    assert (found.timeline, found.fresh_as_of) == (near.get("c", 1), 100.0)
    assert hits() == 1
    with counted("process") as hits, counted("memcached") as far_hits:
        assert [lookup.get_cached(loan_id) for loan_id in (2, 3)] == [None, None]
    assert (hits(), far_hits()) == (0, 0)
    assert primary.reads == []


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("floor", lambda freshness, clock: freshness.on_listen("c", 11, clock())),
        ("told", lambda freshness, clock: freshness.on_change(1, 4, 11)),
        ("silence", lambda freshness, clock: setattr(clock, "now", clock.now + MAX_STALENESS_S)),
    ],
)
def test_a_stale_timeline_in_the_process_is_counted_and_not_returned(layers, freshness, clock, reason, spoil):
    near, _, primary, lookup = layers
    near.put_many("c", [timeline(3, 10)])
    spoil(freshness, clock)
    with counted("process") as hits, counted(reason, "loaner_distrusted_total", "reason") as distrusted:
        assert lookup.get_cached(1) is None
    assert (hits(), distrusted()) == (0, 1)
    assert primary.reads == []


def test_nothing_in_the_process_is_used_without_a_listener_or_a_cache(freshness, clock):
    near = FakeCache()
    near.put_many(None, [timeline(3, 10)])
    assert TimelineLookup(FakeLedger(), Freshness(MAX_STALENESS_S, now=clock), (near,)).get_cached(1) is None
    assert TimelineLookup(FakeLedger(), freshness).get_cached(1) is None


def test_a_notified_version_is_read_from_the_primary(layers, freshness):
    near, _, primary, lookup = layers
    lookup.get(1)
    primary.current = timeline(4, 12)
    freshness.on_change(1, 4, 11)
    assert lookup.get(1).timeline.version == 4
    assert primary.reads == ["whole", "whole"]
    assert near.get("c", 1).version == 4


def test_a_timeline_below_the_floor_is_revalidated_without_reading_events(layers, freshness, clock):
    near, far, primary, lookup = layers
    lookup.get(1)
    primary.current = timeline(3, 20)
    freshness.on_listen("c", 20, clock())
    assert lookup.get(1).timeline.horizon == 20
    assert primary.reads == ["whole", "version"]
    lookup.get(1)
    assert primary.reads == ["whole", "version"]
    assert (near.get("c", 1).horizon, far.get("c", 1).horizon) == (20, 20)


def test_the_newer_of_two_stale_lookup_is_revalidated(layers, freshness, clock):
    near, far, primary, lookup = layers
    near.put_many("c", [timeline(2, 9)])
    far.put_many("c", [timeline(3, 9)])
    assert lookup.get(1).timeline.version == 3
    assert primary.reads == ["version"]


def test_every_reply_is_read_from_the_primary_while_the_listener_is_silent(layers, clock):
    _, _, primary, lookup = layers
    lookup.get(1)
    clock.now += MAX_STALENESS_S
    for _ in range(2):
        assert lookup.get(1).fresh_as_of == clock.now
    assert primary.reads == ["whole", "version", "version"]


def test_cached_lookup_are_served_during_an_outage_until_they_are_stale(layers, clock):
    _, _, primary, lookup = layers
    lookup.get(1)
    primary.error = DatabaseUnavailable("gone")
    clock.now += MAX_STALENESS_S - 1
    assert lookup.get(1).timeline.version == 3
    clock.now += 1
    with pytest.raises(DatabaseUnavailable):
        lookup.get(1)


def test_nothing_is_cached_before_the_listener_connects(clock):
    near, primary = FakeCache(), FakeLedger()
    lookup = TimelineLookup(primary, Freshness(MAX_STALENESS_S, now=clock), caches=(near,))
    lookup.get(1)
    lookup.get(1)
    assert primary.reads == ["whole", "whole"]
    assert near == {}


def test_lookup_of_another_cluster_are_not_used(layers, freshness, clock):
    near, _, primary, lookup = layers
    lookup.get(1)
    freshness.on_listen("d", 5, clock())  # its transaction numbers are lower
    primary.current = timeline(2, 6)
    assert lookup.get(1).timeline.version == 2
    assert near.get("d", 1).version == 2


def test_a_timeline_read_from_the_old_cluster_is_not_cached_for_the_new_one(layers, freshness, clock):
    near, _, primary, lookup = layers
    primary.during_read = lambda: freshness.on_listen("d", 5, clock())
    lookup.get(1)
    assert near.get("d", 1) is None


def test_unknown_loans_are_not_cached(layers):
    near, _, primary, lookup = layers
    primary.error = UnknownLoan(1)
    for _ in range(2):
        with pytest.raises(UnknownLoan):
            lookup.get(1)
    assert len(primary.reads) == 2
    assert near == {}


def test_a_min_version_that_is_not_cached_costs_one_read_of_the_primary(layers):
    _, _, primary, lookup = layers
    lookup.get(1)
    primary.current = timeline(4, 12)
    assert lookup.get(1).timeline.version == 3  # not notified yet
    assert lookup.get(1, min_version=4).timeline.version == 4
    assert lookup.get(1).timeline.version == 4
    with pytest.raises(VersionNotReached) as caught:
        lookup.get(1, min_version=5)
    assert (caught.value.version, primary.reads) == (4, ["whole", "whole", "version"])
    primary.error = UnknownLoan(1)  # a failover lost it, and the listener has not noticed yet
    with pytest.raises(UnknownLoan):
        lookup.get(1, min_version=5)


# Replicas


@pytest.fixture
def replicated(freshness):
    near, primary, replica = FakeCache(), FakeLedger(), FakeLedger()
    return near, primary, replica, TimelineLookup(primary, freshness, caches=(near,), replica=replica)


def test_a_current_replica_is_read_instead_of_the_primary(replicated):
    _, primary, replica, lookup = replicated
    lookup.get(1)
    assert (primary.reads, replica.reads) == ([], ["whole"])


@pytest.mark.parametrize("lagging", [timeline(2, 9), timeline(3, 9)])
def test_a_timeline_of_a_lagging_replica_is_neither_served_nor_cached(replicated, lagging):
    near, primary, replica, lookup = replicated
    replica.current = lagging
    assert lookup.get(1).timeline.horizon == 10
    assert primary.reads == ["whole"]
    assert near.get("c", 1).horizon == 10


def test_a_replica_that_lacks_a_notified_version_is_not_used(replicated, freshness):
    _, primary, _, lookup = replicated
    freshness.on_change(1, 4, 11)
    primary.current = timeline(4, 12)
    assert lookup.get(1).timeline.version == 4


def test_a_replica_that_is_behind_the_caches_is_not_used(replicated, freshness, clock):
    near, primary, replica, lookup = replicated
    near.put_many("c", [timeline(3, 5)])
    replica.current = timeline(2, 30)
    assert lookup.get(1).timeline.version == 3
    assert primary.reads == ["version"]


@pytest.mark.parametrize("failure", [UnknownLoan(1), DatabaseUnavailable("gone")])
def test_the_primary_is_read_if_the_replica_has_no_answer(replicated, failure):
    _, primary, replica, lookup = replicated
    replica.error = failure
    assert lookup.get(1).timeline.version == 3
    assert primary.reads == ["whole"]


# As of a version


def test_only_the_current_version_is_served_from_the_cache_and_older_ones_are_not_cached(layers):
    near, far, primary, lookup = layers
    lookup.get(1)
    assert lookup.get_at_version(1, 3).timeline is near.get("c", 1)
    assert [lookup.get_at_version(1, version).timeline.version for version in (2, 0, 2)] == [2, 0, 2]
    assert primary.reads == ["whole", "at 2", "at 0", "at 2"]
    assert near.get("c", 1).version == far.get("c", 1).version == 3


def test_a_stale_timeline_is_not_used_for_its_version(layers, freshness, clock):
    _, _, primary, lookup = layers
    lookup.get(1)
    freshness.on_listen("d", 5, clock())
    lookup.get_at_version(1, 3)
    assert primary.reads == ["whole", "at 3"]


def test_a_version_above_the_current_one_is_not_reached(layers):
    *_, lookup = layers
    lookup.get(1)
    with pytest.raises(VersionNotReached) as caught:
        lookup.get_at_version(1, 4)
    assert caught.value.version == 3


def test_a_lagging_replica_serves_the_versions_that_it_has(replicated):
    _, primary, replica, lookup = replicated
    replica.current = timeline(2, 5)
    assert [lookup.get_at_version(1, version).timeline.version for version in (2, 3)] == [2, 3]
    assert (replica.reads, primary.reads) == (["at 2", "at 3"], ["at 3"])


@pytest.mark.parametrize("failure", [UnknownLoan(1), DatabaseUnavailable("gone")])
def test_a_version_is_read_from_the_primary_if_the_replica_has_no_answer(replicated, failure):
    _, primary, replica, lookup = replicated
    replica.error = failure
    assert lookup.get_at_version(1, 2).timeline.version == 2
    assert primary.reads == ["at 2"]


def test_a_timeline_of_a_version_has_no_as_of_time(layers):
    *_, lookup = layers
    assert lookup.as_of(lookup.get_at_version(1, 2)) is None


# Shared reads


def test_simultaneous_requests_share_a_read_and_its_error(layers):
    _, _, primary, lookup = layers
    gate = threading.Event()
    primary.during_read = lambda: gate.wait(10)
    primary.error = DatabaseUnavailable("gone")
    errors = []

    def get():
        with pytest.raises(DatabaseUnavailable) as caught:
            lookup.get(1)
        errors.append(caught.value)

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    gate.set()
    for thread in threads:
        thread.join()
    assert len(errors) == 8
    assert len(primary.reads) == 1
    primary.error = None
    assert lookup.get(1).timeline.version == 3


def test_a_request_that_joins_a_read_that_began_too_early_reads_again(layers, clock):
    _, _, primary, lookup = layers
    started, gate = threading.Event(), threading.Event()

    def wait():
        started.set()
        gate.wait(10)

    primary.during_read = wait
    first = threading.Thread(target=lookup.get, args=(1,))
    first.start()
    started.wait(10)
    clock.now += MAX_STALENESS_S + 1
    requested_at = clock.now
    found = []
    second = threading.Thread(target=lambda: found.append(lookup.get(1)))
    second.start()
    time.sleep(0.2)
    gate.set()
    first.join()
    second.join()
    assert found[0].fresh_as_of >= requested_at - MAX_STALENESS_S
    assert len(primary.reads) == 2


def test_single_flight_does_not_remember_results_or_errors():
    flights = SingleFlight()
    assert [flights.do("key", lambda n=n: n) for n in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        flights.do("key", lambda: 1 / 0)
    assert flights.do("key", lambda: 4) == 4


def test_as_of_is_a_wall_clock_time(layers, clock):
    *_, lookup = layers
    snapshot = lookup.get(1)
    clock.now += 2
    age_s = (datetime.now(UTC) - lookup.as_of(snapshot)).total_seconds()
    assert age_s == pytest.approx(2, abs=0.5)


def test_an_unknown_loan_in_a_read_that_began_too_early_is_not_accepted(layers, clock):
    _, _, primary, lookup = layers
    started, gate = threading.Event(), threading.Event()

    def wait():
        started.set()
        gate.wait(10)
        primary.error, primary.during_read = UnknownLoan(1), lambda: setattr(primary, "error", None)

    primary.during_read = wait

    def get_unknown():
        with pytest.raises(UnknownLoan):
            lookup.get(1)

    first = threading.Thread(target=get_unknown)
    first.start()
    started.wait(10)
    clock.now += MAX_STALENESS_S + 1
    found = []
    second = threading.Thread(target=lambda: found.append(lookup.get(1)))
    second.start()
    time.sleep(0.2)
    gate.set()
    first.join()
    second.join()
    assert found[0].timeline.version == 3


def test_a_revalidated_timeline_with_the_same_horizon_is_not_cached_again(layers, freshness, clock):
    near, far, _, lookup = layers
    near.put_many("c", [timeline(3, 10)])
    far.clear()
    freshness.on_listen("c", 99, clock())  # a long transaction keeps every horizon below the floor
    for _ in range(3):
        assert lookup.get(1).timeline.version == 3
    assert far == {}
