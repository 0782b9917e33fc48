"""Where timelines are looked for, over ledgers and caches that a test moves as it likes."""

import threading
import time
from datetime import UTC, datetime

import pytest

from native import FEE, Timeline
from service.errors import DatabaseUnavailable, UnknownLoan, VersionNotReached
from service.ledger.freshness import Freshness
from service.ledger.repository import NOTHING_HELD
from service.ledger.single_flight import SingleFlight
from service.ledger.timeline_lookup import TimelineLookup
from tests.fakes.clocks import Clock

MAX_STALENESS_S = 5


def timeline(version, horizon, loan_id=1):
    return Timeline.build(
        loan_id=loan_id, version=version, horizon=horizon, start_day=18_000, initial=100, currency="USD",
        days=[18_000] * version, kinds=[FEE] * version, amounts=[1] * version, tx_ids=range(version),
    )  # fmt: skip


class Server:
    """A ledger: what it holds, how often it was read, and what to do meanwhile."""

    def __init__(self, version=3, horizon=10):
        self.holds = timeline(version, horizon)
        self.reads = []
        self.fails = None
        self.meanwhile = lambda: None

    def timelines(self, loan_ids, held=NOTHING_HELD, cluster=None):
        own = held.get(self.holds.loan_id)
        self.reads.append("whole" if own is None or own.version != self.holds.version else "version")
        self.meanwhile()
        if isinstance(self.fails, UnknownLoan) or self.holds.loan_id not in loan_ids:
            return {}
        if self.fails is not None:
            raise self.fails
        if own is not None and own.version == self.holds.version:
            return {own.loan_id: own if own.horizon == self.holds.horizon else own.with_horizon(self.holds.horizon)}
        return {self.holds.loan_id: self.holds}

    def timeline_at(self, loan_id, version, cluster=None):
        self.reads.append(f"at {version}")
        if self.fails is not None:
            raise self.fails
        if self.holds.version < version:
            raise VersionNotReached(loan_id, self.holds.version, version)
        return timeline(version, self.holds.horizon)


class Kept(dict):
    """A cache that loses nothing."""

    def get(self, cluster, loan_id):
        return super().get((cluster, loan_id))

    def get_many(self, cluster, loan_ids):
        return {loan_id: self[cluster, loan_id] for loan_id in loan_ids if (cluster, loan_id) in self}

    def put_many(self, cluster, timelines):
        for timeline in timelines:
            self[cluster, timeline.loan_id] = timeline


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def freshness(clock):
    made = Freshness(MAX_STALENESS_S, now=clock)
    made.on_listen("c", 10, clock())
    return made


@pytest.fixture
def place(freshness):
    """Two caches over a primary, and what finds loans in them."""
    near, far, primary = Kept(), Kept(), Server()
    return near, far, primary, TimelineLookup(primary, freshness, caches=(near, far))


def test_what_was_read_once_is_found_near(place):
    near, far, primary, timelines = place
    found = [timelines.get(1).timeline for _ in range(3)]
    assert primary.reads == ["whole"]
    assert found[0] is found[1] is found[2] is near.get("c", 1) is far.get("c", 1)


def test_what_another_process_has_read_is_found_and_kept_near(place):
    near, far, primary, timelines = place
    far.put_many("c", [timeline(3, 10)])
    timelines.get(1)
    timelines.get(1)
    assert primary.reads == []
    assert near.get("c", 1) is far.get("c", 1)


def test_a_told_version_is_read_anew(place, freshness):
    near, _, primary, timelines = place
    timelines.get(1)
    primary.holds = timeline(4, 12)
    freshness.on_change(1, 4, 11)
    assert timelines.get(1).timeline.version == 4
    assert primary.reads == ["whole", "whole"]
    assert near.get("c", 1).version == 4


def test_what_is_below_the_floor_is_revalidated_by_its_version_alone(place, freshness, clock):
    near, far, primary, timelines = place
    timelines.get(1)
    primary.holds = timeline(3, 20)
    freshness.on_listen("c", 20, clock())
    assert timelines.get(1).timeline.horizon == 20
    assert primary.reads == ["whole", "version"]
    timelines.get(1)
    assert primary.reads == ["whole", "version"]
    assert (near.get("c", 1).horizon, far.get("c", 1).horizon) == (20, 20)


def test_of_two_old_ones_the_newer_is_revalidated(place, freshness, clock):
    near, far, primary, timelines = place
    near.put_many("c", [timeline(2, 9)])
    far.put_many("c", [timeline(3, 9)])
    assert timelines.get(1).timeline.version == 3
    assert primary.reads == ["version"]


def test_while_the_primary_is_not_heard_every_reply_is_read_from_it(place, clock):
    _, _, primary, timelines = place
    timelines.get(1)
    clock.now += MAX_STALENESS_S
    for _ in range(2):
        assert timelines.get(1).fresh_as_of == clock.now
    assert primary.reads == ["whole", "version", "version"]


def test_when_postgres_is_gone_what_the_contract_allows_is_served_and_no_more(place, clock):
    _, _, primary, timelines = place
    timelines.get(1)
    primary.fails = DatabaseUnavailable("gone")
    clock.now += MAX_STALENESS_S - 1
    assert timelines.get(1).timeline.version == 3
    clock.now += 1
    with pytest.raises(DatabaseUnavailable):
        timelines.get(1)


def test_before_anyone_listens_nothing_is_cached(clock):
    near, primary = Kept(), Server()
    timelines = TimelineLookup(primary, Freshness(MAX_STALENESS_S, now=clock), caches=(near,))
    timelines.get(1)
    timelines.get(1)
    assert primary.reads == ["whole", "whole"]
    assert near == {}


def test_another_cluster_begins_with_empty_caches(place, freshness, clock):
    near, _, primary, timelines = place
    timelines.get(1)
    freshness.on_listen("d", 5, clock())  # its numbers are lower
    primary.holds = timeline(2, 6)
    assert timelines.get(1).timeline.version == 2
    assert near.get("d", 1).version == 2


def test_what_was_read_of_the_old_cluster_is_not_kept_for_the_new_one(place, freshness, clock):
    near, _, primary, timelines = place
    primary.meanwhile = lambda: freshness.on_listen("d", 5, clock())
    timelines.get(1)
    assert near.get("d", 1) is None


def test_unknown_loans_are_asked_for_each_time(place):
    near, _, primary, timelines = place
    primary.fails = UnknownLoan(1)
    for _ in range(2):
        with pytest.raises(UnknownLoan):
            timelines.get(1)
    assert len(primary.reads) == 2
    assert near == {}


def test_a_version_that_was_posted_elsewhere_is_waited_for_by_one_read_of_the_primary(place):
    _, _, primary, timelines = place
    timelines.get(1)
    primary.holds = timeline(4, 12)
    assert timelines.get(1).timeline.version == 3  # nobody was told yet
    assert timelines.get(1, min_version=4).timeline.version == 4
    assert timelines.get(1).timeline.version == 4
    with pytest.raises(VersionNotReached) as caught:
        timelines.get(1, min_version=5)
    assert (caught.value.version, primary.reads) == (4, ["whole", "whole", "version"])
    primary.fails = UnknownLoan(1)  # a failover has lost it, and nobody has heard of that yet
    with pytest.raises(UnknownLoan):
        timelines.get(1, min_version=5)


# Replicas


@pytest.fixture
def replicated(freshness):
    near, primary, replica = Kept(), Server(), Server()
    return near, primary, replica, TimelineLookup(primary, freshness, caches=(near,), replica=replica)


def test_a_replica_that_keeps_up_is_read(replicated):
    _, primary, replica, timelines = replicated
    timelines.get(1)
    assert (primary.reads, replica.reads) == ([], ["whole"])


@pytest.mark.parametrize("lagging", [timeline(2, 9), timeline(3, 9)])
def test_a_replica_that_lags_below_the_floor_is_not_believed_and_poisons_no_cache(replicated, lagging):
    near, primary, replica, timelines = replicated
    replica.holds = lagging
    assert timelines.get(1).timeline.horizon == 10
    assert primary.reads == ["whole"]
    assert near.get("c", 1).horizon == 10


def test_a_replica_that_lacks_what_was_told_is_not_believed(replicated, freshness):
    _, primary, _, timelines = replicated
    freshness.on_change(1, 4, 11)
    primary.holds = timeline(4, 12)
    assert timelines.get(1).timeline.version == 4


def test_a_replica_that_is_behind_what_is_held_is_not_believed(replicated, freshness, clock):
    near, primary, replica, timelines = replicated
    near.put_many("c", [timeline(3, 5)])
    replica.holds = timeline(2, 30)
    assert timelines.get(1).timeline.version == 3
    assert primary.reads == ["version"]


@pytest.mark.parametrize("failure", [UnknownLoan(1), DatabaseUnavailable("gone")])
def test_what_a_replica_does_not_know_the_primary_is_asked(replicated, failure):
    _, primary, replica, timelines = replicated
    replica.fails = failure
    assert timelines.get(1).timeline.version == 3
    assert primary.reads == ["whole"]


# As of a version


def test_the_version_that_is_cached_is_not_read_again_and_an_older_one_is_and_is_not_kept(place):
    near, far, primary, timelines = place
    timelines.get(1)
    assert timelines.get_at_version(1, 3).timeline is near.get("c", 1)
    assert [timelines.get_at_version(1, version).timeline.version for version in (2, 0, 2)] == [2, 0, 2]
    assert primary.reads == ["whole", "at 2", "at 0", "at 2"]
    assert near.get("c", 1).version == far.get("c", 1).version == 3


def test_what_is_cached_and_not_trusted_is_no_version_either(place, freshness, clock):
    _, _, primary, timelines = place
    timelines.get(1)
    freshness.on_listen("d", 5, clock())
    timelines.get_at_version(1, 3)
    assert primary.reads == ["whole", "at 3"]


def test_a_version_that_the_loan_does_not_have_is_not_reached(place):
    *_, timelines = place
    timelines.get(1)
    with pytest.raises(VersionNotReached) as caught:
        timelines.get_at_version(1, 4)
    assert caught.value.version == 3


def test_a_replica_that_lags_is_read_for_the_versions_that_it_has(replicated):
    _, primary, replica, timelines = replicated
    replica.holds = timeline(2, 5)
    assert [timelines.get_at_version(1, version).timeline.version for version in (2, 3)] == [2, 3]
    assert (replica.reads, primary.reads) == (["at 2", "at 3"], ["at 3"])


@pytest.mark.parametrize("failure", [UnknownLoan(1), DatabaseUnavailable("gone")])
def test_a_version_that_a_replica_does_not_tell_the_primary_is_asked_for(replicated, failure):
    _, primary, replica, timelines = replicated
    replica.fails = failure
    assert timelines.get_at_version(1, 2).timeline.version == 2
    assert primary.reads == ["at 2"]


def test_a_loan_as_it_was_has_no_time_up_to_which_it_is_known(place):
    *_, timelines = place
    assert timelines.as_of(timelines.get_at_version(1, 2)) is None


# One read for many


def test_many_who_ask_at_once_share_a_read_and_its_failure(place):
    _, _, primary, timelines = place
    gate = threading.Event()
    primary.meanwhile = lambda: gate.wait(10)
    primary.fails = DatabaseUnavailable("gone")
    failures = []

    def ask():
        with pytest.raises(DatabaseUnavailable) as caught:
            timelines.get(1)
        failures.append(caught.value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    gate.set()
    for thread in threads:
        thread.join()
    assert len(failures) == 8
    assert len(primary.reads) == 1
    primary.fails = None
    assert timelines.get(1).timeline.version == 3


def test_whoever_joins_a_read_that_began_too_long_ago_reads_again(place, clock):
    _, _, primary, timelines = place
    begun, gate = threading.Event(), threading.Event()

    def wait():
        begun.set()
        gate.wait(10)

    primary.meanwhile = wait
    first = threading.Thread(target=timelines.get, args=(1,))
    first.start()
    begun.wait(10)
    clock.now += MAX_STALENESS_S + 1
    asked_at = clock.now
    found = []
    second = threading.Thread(target=lambda: found.append(timelines.get(1)))
    second.start()
    time.sleep(0.2)
    gate.set()
    first.join()
    second.join()
    assert found[0].fresh_as_of >= asked_at - MAX_STALENESS_S
    assert len(primary.reads) == 2


def test_a_flight_that_has_landed_is_forgotten():
    flights = SingleFlight()
    assert [flights.do("key", lambda n=n: n) for n in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        flights.do("key", lambda: 1 / 0)
    assert flights.do("key", lambda: 4) == 4


def test_as_of_is_told_by_the_clock_on_the_wall(place, clock):
    *_, timelines = place
    known = timelines.get(1)
    clock.now += 2
    age_s = (datetime.now(UTC) - timelines.as_of(known)).total_seconds()
    assert age_s == pytest.approx(2, abs=0.5)


def test_whoever_joins_a_read_that_began_too_long_ago_does_not_take_its_word_that_there_is_no_loan(place, clock):
    _, _, primary, timelines = place
    begun, gate = threading.Event(), threading.Event()

    def wait():
        begun.set()
        gate.wait(10)
        primary.fails, primary.meanwhile = UnknownLoan(1), lambda: setattr(primary, "fails", None)

    primary.meanwhile = wait

    def ask_in_vain():
        with pytest.raises(UnknownLoan):
            timelines.get(1)

    first = threading.Thread(target=ask_in_vain)
    first.start()
    begun.wait(10)
    clock.now += MAX_STALENESS_S + 1
    found = []
    second = threading.Thread(target=lambda: found.append(timelines.get(1)))
    second.start()
    time.sleep(0.2)
    gate.set()
    first.join()
    second.join()
    assert found[0].timeline.version == 3


def test_what_is_confirmed_without_news_is_not_written_again(place, freshness, clock):
    near, far, _, timelines = place
    near.put_many("c", [timeline(3, 10)])
    far.clear()
    freshness.on_listen("c", 99, clock())  # a transaction that is open for long keeps every horizon below the floor
    for _ in range(3):
        assert timelines.get(1).timeline.version == 3
    assert far == {}
