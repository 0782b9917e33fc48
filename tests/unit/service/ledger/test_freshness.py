"""The rule by itself, against a model of Postgres that reorders whatever may come in another order.

The model knows which replies would be wrong. The rule as it is never gives one; with any one comparison removed from
its source, or a step of the listener's protocol in the wrong place, the model finds a reply that breaks the contract.
"""

import inspect
from dataclasses import dataclass, field
from types import ModuleType

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase
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


@dataclass(eq=False)
class Transaction:
    """One that writes. versions: what it makes of the loans that it has locked."""

    number: int
    versions: dict[int, int] = field(default_factory=dict)
    committed_at: float | None = None


@dataclass(frozen=True)
class Timeline:
    """What was read, and the cluster that it is kept under. events: the transactions whose events it holds."""

    cluster: str | None
    loan: int
    version: int
    horizon: int
    events: frozenset[Transaction]


class Server:
    """A primary's transactions, and what its snapshots show. history: those that are over, in that order."""

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
        """Lock the loan and make its next version, unless another transaction has it locked."""
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
        """The oldest that is not over; on a replica, what it has not seen the end of is open."""
        over = {t.number for t in self.history[:upto]}
        return next(number for number in range(1, self.xmax(upto) + 1) if number not in over)


class Model(RuleBasedStateMachine):
    """Commits, notifications, reads, caches, reconnections and failovers, in any order in which they can occur."""

    rule_under_test: ModuleType = service.ledger.freshness
    snapshot_before_listen = False  # mistakes of a listener
    round_trip_counts_from_its_end = False
    a_crash_changes_no_name = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(0)
        self.freshness = self.rule_under_test.Freshness(MAX_STALENESS_S, MAX_TRACKED_LOANS, self.clock)
        self.server = Server(1, [])
        self.servers = 1
        self.kept: set[Timeline] = set()  # all that any process ever wrote to any cache
        self.on_listen = False
        self.delivered = 0  # how much of the server's history the listener was told, or missed
        self.snapshot: tuple[int, float] | None = None

    # Writers

    @initialize(listens=st.booleans())
    def first(self, listens):
        if listens:
            self.listener_connects(writes="not at all")

    @rule(
        loans=st.sampled_from(((1,), (2,), LOANS)),
        commits=st.sampled_from((True, True, False)),
        is_told_at_once=st.sampled_from((True, True, False)),
    )
    def write(self, loans, commits, is_told_at_once):
        self._write(loans, commits)
        if is_told_at_once and self.on_listen:
            self.deliver()

    def _write(self, loans, commits=True):
        writer = self.server.begin()
        for loan in loans:
            self.server.post(writer, loan)
        self._end(writer, commits)

    def _end(self, writer, commits):
        self.server.end(writer, self.clock.now if commits else None)
        self.clock.now += MOMENT_S

    @rule()
    def begin(self):
        if len(self.server.open) < 2:
            self.server.begin()

    @precondition(lambda self: self.server.open)
    @rule(which=st.integers(0, 1), loan=st.sampled_from(LOANS), ends=st.booleans())
    def go_on(self, which, loan, ends):
        writer = self.server.open[which % len(self.server.open)]
        self.server.post(writer, loan)
        if ends:
            self._end(writer, commits=True)

    @rule(seconds=st.sampled_from((1, MAX_STALENESS_S)))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @rule(how=st.sampled_from(("cut", "failover", "crash", "crash")), lost=st.integers(0, 2))
    def listener_is_cut(self, how, lost):
        """In a failover a replica takes over that had not seen the last commits; its numbers and versions go on from
        there. In a crash, what was not committed is gone, and its numbers are given again."""
        self.on_listen = False
        if how == "cut" or self.servers == 3:
            return
        self.servers += 1
        before, history = self.server.cluster, self.server.history
        if how == "failover":
            self.server = Server(self.servers, history[: max(0, len(history) - lost)])
        else:
            self.server = Server(self.servers, [t for t in history if t.committed_at is not None])
            if self.a_crash_changes_no_name:
                self.server.cluster = before

    # The listener: LISTEN, a snapshot, notifications and round trips

    @precondition(lambda self: not self.on_listen)
    @rule(writes=st.sampled_from(("not at all", "before", "between")))
    def listener_connects(self, writes):
        first, second = (self._look, self._listen) if self.snapshot_before_listen else (self._listen, self._look)
        if writes == "before":
            self._write(LOANS)
        first()
        if writes == "between":
            self._write(LOANS)
        second()
        self.on_listen = True
        self.freshness.on_listen(self.server.cluster, *self.snapshot)

    def _listen(self):
        self.delivered = len(self.server.history)

    def _look(self):
        self.snapshot = (self.server.xmax(), self.clock.now)

    @precondition(lambda self: self.on_listen)
    @rule()
    def deliver(self):
        self._deliver(len(self.server.history))

    @precondition(lambda self: self.on_listen)
    @rule(writes=st.booleans(), seconds=st.sampled_from((0, 1, MAX_STALENESS_S)))
    def round_trip(self, writes, seconds):
        begun, upto = self.clock.now, len(self.server.history)
        if writes:
            self._write(LOANS)
        self.clock.now += seconds
        self._deliver(upto)
        self.freshness.on_heartbeat(self.clock.now if self.round_trip_counts_from_its_end else begun)

    def _deliver(self, upto: int) -> None:
        if self.on_listen:
            for transaction in self.server.history[self.delivered : upto]:
                if transaction.committed_at is not None:
                    self._tell(transaction)
            self.delivered = max(self.delivered, upto)

    def _tell(self, transaction: Transaction) -> None:
        if len(transaction.versions) > 1:
            self.freshness.on_bulk_change(transaction.number)
        else:
            for loan, version in transaction.versions.items():
                self.freshness.on_change(loan, version, transaction.number)

    @precondition(lambda self: self.on_listen)
    @rule(loan=st.sampled_from((*LOANS, "many")), version=st.integers(0, 1), number=st.integers(0, 1))
    def somebody_notifies_of_what_never_was(self, loan, version, number):
        if loan == "many":
            self.freshness.on_bulk_change(number)
        else:
            self.freshness.on_change(loan, version, number)

    # Readers: what was ever read, here or in another process, from the primary or a replica, may be found at any time

    @rule(lag=st.sampled_from((0, 1, 2)), elsewhere=st.booleans())
    def read(self, lag, elsewhere):
        upto = max(0, len(self.server.history) - lag)
        cluster = self.server.cluster if elsewhere else self.freshness.cluster
        for loan in LOANS:
            events = frozenset(self.server.commits(loan, upto))
            timeline = Timeline(cluster, loan, self.server.version(loan, upto), self.server.xmin(upto), events)
            self.kept.add(timeline)

    @invariant()
    def somebody_reads_all_the_time(self):
        self.read(lag=0, elsewhere=True)

    @invariant()
    def no_reply_breaks_the_contract(self):
        for found in self.kept:
            stale_reason, fresh_as_of = self.freshness.check(found.cluster, found.loan, found.version, found.horizon)
            if stale_reason is None:
                since = max(self.clock.now - MAX_STALENESS_S, fresh_as_of)
                owed = {t for t in self.server.commits(found.loan) if t.committed_at < since}
                assert owed <= found.events, "an event is missing"
                if self.freshness.cluster == self.server.cluster:
                    assert found.events <= set(self.server.commits(found.loan)), "an event never was"


THOROUGH = examples(max_examples=300, stateful_step_count=40, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))  # fmt: skip
SEARCH = examples(THOROUGH, max_examples=20_000, derandomize=True, phases=(Phase.generate,))


def test_no_reply_breaks_the_contract():
    run_state_machine_as_test(Model, settings=THOROUGH)


REMOVED = {
    "the floor": ("if horizon < self._floor:", "if False:"),
    "what was told": ("if version < self._told.get(loan_id, _NOTHING)[0]:", "if False:"),
    "the last round trip": ("if self.now() - self._heard >= self.max_staleness_s:", "if False:"),
    "the cluster": ("if cluster != self._cluster:", "if False:"),
    "the floor of a new connection": ("self._floor = xmax", "self._floor = self._floor or xmax"),
    "the floor of what is forgotten": ("self._floor = max(self._floor, forgotten + 1)", "pass"),
    "one above what is forgotten": ("max(self._floor, forgotten + 1)", "max(self._floor, forgotten)"),
    "the floor of many": ("self._floor = max(self._floor, transaction + 1)", "pass"),
    "one above many": ("max(self._floor, transaction + 1)", "max(self._floor, transaction)"),
    "that the floor does not sink for many": ("max(self._floor, transaction + 1)", "transaction + 1"),
    "that a told version does not sink": ("max(version, before[0])", "version"),
    "that a told number does not sink": ("max(transaction, before[1])", "transaction"),
    "that the floor does not sink": ("max(self._floor, forgotten + 1)", "forgotten + 1"),
}


@pytest.mark.parametrize("removed", REMOVED)
def test_without_any_one_comparison_a_wrong_reply_is_found(removed):
    source = inspect.getsource(service.ledger.freshness)
    there, instead = REMOVED[removed]
    assert source.count(there) == 1
    mutant = ModuleType("mutant")
    exec(compile(source.replace(there, instead), "mutant", "exec"), mutant.__dict__)
    _finds_a_wrong_reply(rule_under_test=mutant)


@pytest.mark.parametrize(
    "mistake", ["snapshot_before_listen", "round_trip_counts_from_its_end", "a_crash_changes_no_name"]
)
def test_a_listener_that_takes_its_steps_in_another_order_is_found_out(mistake):
    _finds_a_wrong_reply(**{mistake: True})


def _finds_a_wrong_reply(**wrong: object) -> None:
    machine = type("Mutated", (Model,), wrong)
    with pytest.raises(AssertionError, match=r"an event (is missing|never was)"):
        run_state_machine_as_test(machine, settings=SEARCH)


def test_a_staleness_of_nothing_trusts_nothing():
    freshness = service.ledger.freshness.Freshness(0, now=Clock(0))
    freshness.on_listen("c", 1, 0)
    assert freshness.check("c", 1, 0, 5).stale_reason is service.ledger.freshness.StaleReason.SILENCE


def test_before_anyone_listens_nothing_is_trusted():
    freshness = service.ledger.freshness.Freshness(60, now=Clock(0))
    assert freshness.check(None, 1, 0, 5).stale_reason is service.ledger.freshness.StaleReason.SILENCE
