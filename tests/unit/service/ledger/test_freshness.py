"""The freshness rule against a model of Postgres that permutes everything whose order is not guaranteed.

The model knows which replies would break the contract. The rule never allows one. When any one comparison is removed
from its source, or the listener's steps are in the wrong order, the model finds a reply that breaks the contract.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from types import ModuleType

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import service.ledger.freshness
from tests.fakes.clocks import Clock

LOANS = (1, 2)
MAX_STALENESS_S = 3
MAX_TRACKED_LOANS = 1
MOMENT_S = 0.01
BOOLEANS = (True, False)


@dataclass(eq=False)
class Transaction:
    """A write transaction, with the versions that it makes of the loans it has locked."""

    number: int
    versions: dict[int, int] = field(default_factory=dict)
    committed_at: float | None = None


@dataclass(frozen=True)
class Timeline:
    """A cached timeline, with the transactions whose events it includes."""

    cluster: str | None
    loan: int
    version: int
    horizon: int
    events: frozenset[Transaction]


class Server:
    """A primary, with its ended transactions in the order in which they ended (`history`)."""

    def __init__(self, name: int, history: list[Transaction]) -> None:
        self.cluster = f"cluster-{name}"
        self.next_number = max((t.number for t in history), default=0) + 1
        self.history = history
        self.open: list[Transaction] = []

    def begin(self) -> Transaction:
        writer = Transaction(self.next_number)
        self.next_number += 1
        self.open.append(writer)
        return writer

    def post(self, writer: Transaction, loan: int) -> None:
        """Lock the loan and make its next version, unless another transaction has locked it."""
        if not any(loan in other.versions for other in self.open if other is not writer):
            writer.versions[loan] = max(writer.versions.get(loan, 0), self.version(loan)) + 1

    def end(self, writer: Transaction, committed_at: float | None) -> None:
        self.open.remove(writer)
        writer.committed_at = committed_at
        self.history.append(writer)

    def commits(self, loan: int, upto: int | None = None) -> list[Transaction]:
        return [t for t in self.history[:upto] if t.committed_at is not None and loan in t.versions]

    def version(self, loan: int, upto: int | None = None) -> int:
        return max((t.versions[loan] for t in self.commits(loan, upto)), default=0)

    def xmax(self, upto: int | None = None) -> int:
        return max((t.number for t in self.history[:upto]), default=0) + 1

    def xmin(self, upto: int | None = None) -> int:
        """Return the lowest number that has not ended; on a replica, whose end it has not replayed."""
        ended = {t.number for t in self.history[:upto]}
        return next(number for number in range(1, self.xmax(upto) + 1) if number not in ended)


@dataclass(frozen=True)
class Step:
    """What may happen, when it may, and with which arguments."""

    name: str
    is_possible: Callable[["Model"], object]
    arguments: dict[str, tuple[object, ...]]


STEPS: list[Step] = []


def step(when: Callable[["Model"], object] = lambda _: True, **arguments: tuple[object, ...]):
    """Make a method a rule of hypothesis, and a step of `walk`."""

    def decorate(method):
        STEPS.append(Step(method.__name__, when, arguments))
        chosen = {name: st.sampled_from(values) for name, values in arguments.items()}
        return precondition(when)(rule(**chosen)(method))

    return decorate


class Model(RuleBasedStateMachine):
    """Commits, notifications, reads, caches, reconnections and failovers, in every order in which they can occur."""

    rule_under_test: ModuleType = service.ledger.freshness
    snapshot_before_listen = False  # faults of a listener
    round_trip_age_counts_from_its_end = False
    crash_keeps_the_cluster = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(0)
        self.freshness = self.rule_under_test.Freshness(MAX_STALENESS_S, MAX_TRACKED_LOANS, self.clock)
        self.server = Server(1, [])
        self.servers = 1
        self.cached: set[Timeline] = set()  # everything that any process ever wrote to any cache
        self.is_listening = False
        self.delivered = 0  # length of the history that the listener received or missed
        self.snapshot: tuple[int, float] | None = None

    # Writers

    @initialize(listens=st.sampled_from(BOOLEANS))
    def first(self, listens):
        if listens:
            self.listener_connects(writes="not at all")

    @step(loans=((1,), (2,), LOANS), commits=(True, True, False), is_delivered=(True, True, False))
    def write(self, loans, commits, is_delivered):
        self._write(loans, commits)
        if is_delivered and self.is_listening:
            self.deliver()

    def _write(self, loans, commits=True):
        writer = self.server.begin()
        for loan in loans:
            self.server.post(writer, loan)
        self._end(writer, commits)

    def _end(self, writer, commits):
        self.server.end(writer, self.clock.now if commits else None)
        self.clock.now += MOMENT_S

    @step()
    def begin(self):
        if len(self.server.open) < 2:
            self.server.begin()

    @step(when=lambda self: self.server.open, index=(0, 1), loan=LOANS, ends=BOOLEANS)
    def continue_transaction(self, index, loan, ends):
        writer = self.server.open[index % len(self.server.open)]
        self.server.post(writer, loan)
        if ends:
            self._end(writer, commits=True)

    @step(seconds=(1, MAX_STALENESS_S))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @step(cause=("cut", "failover", "crash", "crash"), lost=(0, 1, 2))
    def listener_is_disconnected(self, cause, lost):
        """Cut the connection, possibly by a failover or a crash.

        In a failover a replica takes over that lacks the last commits; its numbers and versions continue from there.
        In a crash, open transactions are lost, and their numbers are assigned again.
        """
        self.is_listening = False
        if cause == "cut" or self.servers == 3:
            return
        self.servers += 1
        old_cluster, history = self.server.cluster, self.server.history
        if cause == "failover":
            self.server = Server(self.servers, history[: max(0, len(history) - lost)])
        else:
            self.server = Server(self.servers, [t for t in history if t.committed_at is not None])
            if self.crash_keeps_the_cluster:
                self.server.cluster = old_cluster

    # The listener: LISTEN, a snapshot, notifications and round trips

    @step(when=lambda self: not self.is_listening, writes=("not at all", "before", "between"))
    def listener_connects(self, writes):
        steps = [self._listen, self._take_snapshot]
        first, second = reversed(steps) if self.snapshot_before_listen else steps
        if writes == "before":
            self._write(LOANS)
        first()
        if writes == "between":
            self._write(LOANS)
        second()
        self.is_listening = True
        self.freshness.on_listen(self.server.cluster, *self.snapshot)

    def _listen(self):
        self.delivered = len(self.server.history)

    def _take_snapshot(self):
        self.snapshot = (self.server.xmax(), self.clock.now)

    @step(when=lambda self: self.is_listening)
    def deliver(self):
        self._deliver(len(self.server.history))

    @step(when=lambda self: self.is_listening, writes=BOOLEANS, seconds=(0, 1, MAX_STALENESS_S))
    def round_trip(self, writes, seconds):
        started_at, upto = self.clock.now, len(self.server.history)
        if writes:
            self._write(LOANS)
        self.clock.now += seconds
        self._deliver(upto)
        self.freshness.on_heartbeat(self.clock.now if self.round_trip_age_counts_from_its_end else started_at)

    def _deliver(self, upto: int) -> None:
        if self.is_listening:
            for transaction in self.server.history[self.delivered : upto]:
                if transaction.committed_at is not None:
                    self._notify(transaction)
            self.delivered = max(self.delivered, upto)

    def _notify(self, transaction: Transaction) -> None:
        if len(transaction.versions) > 1:
            self.freshness.on_bulk_change(transaction.number)
        else:
            for loan, version in transaction.versions.items():
                self.freshness.on_change(loan, version, transaction.number)

    @step(when=lambda self: self.is_listening, loan=(*LOANS, "many"), version=(0, 1), number=(0, 1))
    def a_client_sends_a_forged_notification(self, loan, version, number):
        if loan == "many":
            self.freshness.on_bulk_change(number)
        else:
            self.freshness.on_change(loan, version, number)

    # Readers: a timeline that any process ever read, from the primary or a replica, may be found in a cache at any time

    @step(lag=(0, 1, 2), elsewhere=BOOLEANS)
    def read(self, lag, elsewhere):
        upto = max(0, len(self.server.history) - lag)
        cluster = self.server.cluster if elsewhere else self.freshness.cluster
        for loan in LOANS:
            events = frozenset(self.server.commits(loan, upto))
            timeline = Timeline(cluster, loan, self.server.version(loan, upto), self.server.xmin(upto), events)
            self.cached.add(timeline)

    @invariant()
    def another_process_reads_after_each_step(self):
        self.read(lag=0, elsewhere=True)

    @invariant()
    def no_reply_breaks_the_contract(self):
        for timeline in self.cached:
            stale_reason, fresh_as_of = self.freshness.check(
                timeline.cluster, timeline.loan, timeline.version, timeline.horizon
            )
            if stale_reason is None:
                since = max(self.clock.now - MAX_STALENESS_S, fresh_as_of)
                required = {t for t in self.server.commits(timeline.loan) if t.committed_at < since}
                assert required <= timeline.events, "an event is missing"
                if self.freshness.cluster == self.server.cluster:
                    assert timeline.events <= set(self.server.commits(timeline.loan)), "an event does not exist"


THOROUGH = examples(max_examples=100, stateful_step_count=40, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))  # fmt: skip
WALKS, WALK_STEPS = 2_000, 40  # each mistake is found within some two hundred walks


def test_no_reply_breaks_the_contract():
    run_state_machine_as_test(Model, settings=THOROUGH)
    take_random_walks(Model)


REMOVED = {
    "the floor": ("if horizon < self._floor:", "if False:"),
    "the notified version": ("if version < self._changes.get(loan_id, _NO_CHANGE)[0]:", "if False:"),
    "the last round trip": ("if self.now() - self._round_trip_start >= self.max_staleness_s:", "if False:"),
    "the cluster": ("if cluster != self._cluster:", "if False:"),
    "the floor of a new connection": ("self._floor = xmax", "self._floor = self._floor or xmax"),
    "the floor of an eviction": ("self._floor = max(self._floor, evicted + 1)", "pass"),
    "one above an eviction": ("max(self._floor, evicted + 1)", "max(self._floor, evicted)"),
    "the floor of a bulk change": ("self._floor = max(self._floor, transaction + 1)", "pass"),
    "one above a bulk change": ("max(self._floor, transaction + 1)", "max(self._floor, transaction)"),
    "that a bulk change does not lower the floor": ("max(self._floor, transaction + 1)", "transaction + 1"),
    "that a notified version does not decrease": ("max(version, previous[0])", "version"),
    "that a notified transaction does not decrease": ("max(transaction, previous[1])", "transaction"),
    "that an eviction does not lower the floor": ("max(self._floor, evicted + 1)", "evicted + 1"),
}


@pytest.mark.parametrize("removed", REMOVED)
def test_each_comparison_is_needed_by_the_contract(removed):
    source = inspect.getsource(service.ledger.freshness)
    original, replacement = REMOVED[removed]
    assert source.count(original) == 1
    mutant = ModuleType("mutant")
    exec(compile(source.replace(original, replacement), "mutant", "exec"), mutant.__dict__)
    _assert_wrong_reply_is_found(rule_under_test=mutant)


@pytest.mark.parametrize(
    "fault", ["snapshot_before_listen", "round_trip_age_counts_from_its_end", "crash_keeps_the_cluster"]
)
def test_each_step_of_the_listener_is_needed_by_the_contract(fault):
    _assert_wrong_reply_is_found(**{fault: True})


def _assert_wrong_reply_is_found(**faults: object) -> None:
    with pytest.raises(AssertionError, match=r"an event (is missing|does not exist)"):
        take_random_walks(type("Mutated", (Model,), faults))


def take_random_walks(machine: type[Model]) -> None:
    """Try orders of steps that are the same in each run, until one breaks the contract.

    With a seed, hypothesis draws other examples when other modules are imported, and needs a hundred times as long.
    """
    rng = Random(1)
    for _ in range(WALKS):
        walk(machine(), rng)


def walk(model: Model, rng: Random) -> None:
    """Take random steps, of some kinds only, so that rare ones follow one another."""
    model.first(rng.choice(BOOLEANS))
    kinds = [each for each in STEPS if rng.random() < 0.6]
    for _ in range(WALK_STEPS):
        possible = [each for each in kinds if each.is_possible(model)]
        if not possible:
            return
        chosen = rng.choice(possible)
        getattr(model, chosen.name)(**{name: rng.choice(values) for name, values in chosen.arguments.items()})
        model.another_process_reads_after_each_step()
        model.no_reply_breaks_the_contract()


def test_a_staleness_of_zero_makes_every_timeline_stale():
    freshness = service.ledger.freshness.Freshness(0, now=Clock(0))
    freshness.on_listen("c", 1, 0)
    assert freshness.check("c", 1, 0, 5).stale_reason is service.ledger.freshness.StaleReason.SILENCE


def test_every_timeline_is_stale_before_the_listener_connects():
    freshness = service.ledger.freshness.Freshness(60, now=Clock(0))
    assert freshness.check(None, 1, 0, 5).stale_reason is service.ledger.freshness.StaleReason.SILENCE
