"""Decides whether a cached timeline is fresh enough to serve.

The contract: a reply includes every event that was committed more than `max_staleness_s` before the request.
docs/architecture.md explains how PostgreSQL's transaction numbers prove it without clocks of other machines. A timeline
is fresh if it was cached under the current cluster and

1. its horizon (the xmin of the snapshot that it was read in) is at or above the floor;
2. its version is at or above the newest version that a notification named for its loan;
3. the last completed round trip to the primary began less than `max_staleness_s` ago.

Changes must keep these invariants; the tests remove each of them and find a reply that breaks the contract:

- The floor is the xmax of a snapshot taken after LISTEN was committed. An event committed between an earlier snapshot
  and LISTEN would be neither notified nor below the floor.
- Evicting a loan's notified version raises the floor above its transaction, and so does a notification for many loans.
  A timeline with such a horizon includes that event and those of the transactions that held the loan's lock before.
- While a listener stays connected, no version, transaction number or floor decreases. An evicted notification may be
  older than what raised the floor, and notifications are not authenticated: a forged one may only cost reads.
- The age of a round trip counts from its beginning. A commit during the round trip may be notified after it.
- Nothing carries over to another cluster, which may assign the same numbers and versions to other events.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from service.clock import boot_clock

MAX_TRACKED_LOANS = 100_000  # about 20 MB
_NO_CHANGE = (0, 0)


class StaleReason(StrEnum):
    """Why a cached timeline cannot be served without revalidation."""

    CLUSTER = "cluster"  # cached under another cluster
    FLOOR = "floor"  # may lack an event that was committed before the listener connected
    VERSION = "told"  # older than the notified version
    SILENCE = "silence"  # no recent round trip to the primary


class FreshnessCheck(NamedTuple):
    """The result of checking one timeline.

    Attributes:
        stale_reason: None if the timeline is fresh.
        fresh_as_of: A reading of the clock. A fresh timeline includes every event that was committed before it.
    """

    stale_reason: StaleReason | None
    fresh_as_of: float


class Freshness:
    """Evidence about the newest versions of loans, collected by the change listener. Thread-safe.

    Args:
        max_staleness_s: The bound of the contract, in seconds; 0 makes every timeline stale.
        max_tracked_loans: Number of loans whose notified versions are stored.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        max_staleness_s: float,
        max_tracked_loans: int = MAX_TRACKED_LOANS,
        now: Callable[[], float] = boot_clock,
    ) -> None:
        self.max_staleness_s = max_staleness_s
        self.now = now
        self._max_tracked_loans = max_tracked_loans
        self._lock = threading.Lock()
        self._cluster: str | None = None
        self._fault: str | None = None
        self._floor = 0
        self._round_trip_start = float("-inf")
        self._fresh = FreshnessCheck(None, self._round_trip_start)  # shared: making one takes a third of a check
        self._changes: OrderedDict[int, tuple[int, int]] = OrderedDict()  # loan -> version, transaction

    # Called by the change listener

    def on_listen(self, cluster: str, xmax: int, started_at: float) -> None:
        """Start over after a LISTEN was committed.

        Args:
            cluster: The cluster of the listener's session.
            xmax: The xmax of a snapshot taken after LISTEN was committed.
            started_at: When the query for the snapshot began.
        """
        with self._lock:
            self._cluster = cluster
            self._fault = None
            self._floor = xmax
            self._changes.clear()
            self._fresh = FreshnessCheck(None, started_at)
            self._round_trip_start = started_at

    def on_change(self, loan_id: int, version: int, transaction: int) -> None:
        """Record that a transaction committed an event that made this version of the loan."""
        with self._lock:
            previous = self._changes.pop(loan_id, _NO_CHANGE)
            self._changes[loan_id] = (max(version, previous[0]), max(transaction, previous[1]))
            if len(self._changes) > self._max_tracked_loans:
                _, (_, evicted) = self._changes.popitem(last=False)
                self._floor = max(self._floor, evicted + 1)

    def on_bulk_change(self, transaction: int) -> None:
        """Record that a transaction committed events of too many loans to name."""
        with self._lock:
            self._floor = max(self._floor, transaction + 1)

    def on_heartbeat(self, started_at: float) -> None:
        """Record a completed round trip whose notifications were all delivered.

        Args:
            started_at: When the round trip began.
        """
        with self._lock:
            self._fresh = FreshnessCheck(None, started_at)
            self._round_trip_start = started_at

    def distrust(self, fault: str | None = None) -> None:
        """Stop using what is cached until `on_listen`.

        Args:
            fault: What an operator has to change before that; None if nothing.
        """
        with self._lock:
            self._cluster = None
            self._fault = fault

    # Called by readers

    @property
    def cluster(self) -> str | None:
        """The name that timelines are cached under; None until a listener has connected."""
        return self._cluster

    @property
    def fault(self) -> str | None:
        """What an operator has to change before anything cached can be used; None if nothing."""
        return self._fault

    def silence_s(self) -> float | None:
        """Return the seconds since the last completed round trip began; None before the first."""
        return round(self.now() - self._round_trip_start, 3) if self._cluster is not None else None

    def check(self, cluster: str | None, loan_id: int, version: int, horizon: int) -> FreshnessCheck:
        """Check whether a timeline is fresh now.

        Args:
            cluster: The cluster that the timeline was cached under.
            loan_id: The loan.
            version: The timeline's version.
            horizon: The timeline's horizon.
        """
        with self._lock:
            stale_reason = self._stale_reason(cluster, loan_id, version, horizon)
            return self._fresh if stale_reason is None else FreshnessCheck(stale_reason, self._round_trip_start)

    def _stale_reason(self, cluster: str | None, loan_id: int, version: int, horizon: int) -> StaleReason | None:
        if cluster != self._cluster:
            return StaleReason.CLUSTER
        if self.now() - self._round_trip_start >= self.max_staleness_s:
            return StaleReason.SILENCE
        if horizon < self._floor:
            return StaleReason.FLOOR
        if version < self._changes.get(loan_id, _NO_CHANGE)[0]:
            return StaleReason.VERSION
        return None
