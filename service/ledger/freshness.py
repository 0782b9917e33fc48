"""Whether what a cache holds may still be said. The contract: a reply includes every event that was committed more than
`max_staleness_s` before the request.

The rule knows no database. A listener tells it what it hears from the primary, and readers ask it about a timeline that
some cache or replica gave them. It stands on four facts of Postgres:

- A snapshot's *xmin* is the oldest transaction still open in it: whatever has a lower number is over, and if it was
  committed, the snapshot shows it. A timeline carries the xmin of the snapshot it was read in, as its *horizon*.
- A snapshot's *xmax* is above the number of every transaction that was over by then.
- Who listens is told of every commit after its LISTEN was committed, in the order of commits, and of none before.
- What was committed, and its notification sent, before a round trip begins has arrived when that has ended.

A timeline may be said if all three hold:

1. **Its horizon is at or above the floor.** The floor is the xmax of a snapshot taken after LISTEN was committed. What
   nobody told of was committed before LISTEN, so its number is below the floor. Without this comparison: an event is
   committed while nobody listens; the timeline that was cached before it is found again, and no one knows better. (If
   the snapshot were taken before LISTEN, an event could be committed between the two: neither told nor below.)
2. **Its version is not below what was told of its loan.** Without it: an event is committed and told; another process,
   which has read the loan before, writes what it read to the shared cache only now.
3. **A round trip that began less than `max_staleness_s` ago has ended.** Without it: the connection is cut or silent,
   events are committed, and nothing is told. (It counts from its beginning: what is committed while it is under way may
   be told after it.)

Memory is bounded. **Forgetting what was told raises the floor above the transaction's number**: a timeline with such a
horizon was read when that transaction was over, and shows its event, and those of the transactions that held the loan's
lock before. Without it: told, forgotten, and a timeline from before the event is found. A notification for many loans
raises it at once. **What was told never counts for less than before**, neither a version, nor a number, nor the floor:
what is forgotten may have been told before what raised the floor, and whoever may connect may notify. (Told too much by
somebody, one asks the primary more often than one would have to, until the connection is made anew.)

When listening begins anew the floor is that of the new snapshot: every transaction told before is over, so below it.

Numbers and versions mean something within one *cluster* only: one database on one system and WAL timeline, from one
recovery to the next. After a failover the new primary may give them again, to other events, and after a crash the same
one gives again the numbers of what it had not written. So whatever is cached is kept under the cluster's name,
and judged under that name; and a primary that has the same version confirms it only if its session is of that cluster:
it may be asked before the listener has heard of it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from service.clock import running_clock

MAX_TRACKED_LOANS = 100_000  # loans whose told version is remembered: about 20 MB
_NOTHING = (0, 0)


class StaleReason(StrEnum):
    """Why a timeline may not be said as it is."""

    CLUSTER = "cluster"  # it is of another one
    FLOOR = "floor"  # something may have happened before anyone listened
    VERSION = "told"  # a newer version is known of
    SILENCE = "silence"  # the primary has not been heard of for too long


class FreshnessCheck(NamedTuple):
    """What is to be thought of a timeline.

    doubt: None if it may be said. known_at: if so, whatever was committed before is in it (a reading of the clock).
    """

    stale_reason: StaleReason | None
    fresh_as_of: float


class Freshness:
    """What is known of the newest versions of loans. Safe to use from many threads.

    max_staleness_s: the contract, see above; 0 trusts nothing. most_told: how many loans' versions are remembered.
    now: a clock, in seconds.
    """

    def __init__(
        self,
        max_staleness_s: float,
        max_tracked_loans: int = MAX_TRACKED_LOANS,
        now: Callable[[], float] = running_clock,
    ) -> None:
        self.max_staleness_s = max_staleness_s
        self.now = now
        self._max_tracked_loans = max_tracked_loans
        self._lock = threading.Lock()
        self._cluster: str | None = None
        self._floor = 0
        self._heard = float("-inf")
        self._told: OrderedDict[int, tuple[int, int]] = OrderedDict()

    # What a listener says

    def on_listen(self, cluster: str, xmax: int, begun: float) -> None:
        """LISTEN is committed. cluster: whose; xmax: of a snapshot taken since; begun: when that was asked for."""
        with self._lock:
            self._cluster = cluster
            self._floor = xmax
            self._told.clear()
            self._heard = begun

    def on_change(self, loan_id: int, version: int, transaction: int) -> None:
        """An event was committed: the loan's version that it made, and the number of its transaction."""
        with self._lock:
            before = self._told.pop(loan_id, _NOTHING)
            self._told[loan_id] = (max(version, before[0]), max(transaction, before[1]))
            if len(self._told) > self._max_tracked_loans:
                _, (_, forgotten) = self._told.popitem(last=False)
                self._floor = max(self._floor, forgotten + 1)

    def on_bulk_change(self, transaction: int) -> None:
        """Events of more loans than are worth naming were committed."""
        with self._lock:
            self._floor = max(self._floor, transaction + 1)

    def on_heartbeat(self, begun: float) -> None:
        """A round trip has ended, and all that it brought was told. begun: when it began."""
        with self._lock:
            self._heard = begun

    # What readers ask

    @property
    def cluster(self) -> str | None:
        """What cached timelines are kept under; None until a listener has said so."""
        return self._cluster

    def silence_s(self) -> float | None:
        """Seconds since the beginning of the last round trip; None if there was none."""
        return round(self.now() - self._heard, 3) if self._cluster is not None else None

    def check(self, cluster: str | None, loan_id: int, version: int, horizon: int) -> FreshnessCheck:
        """Whether a timeline may be said now. cluster: what it was kept under."""
        with self._lock:
            return FreshnessCheck(self._stale_reason(cluster, loan_id, version, horizon), self._heard)

    def _stale_reason(self, cluster: str | None, loan_id: int, version: int, horizon: int) -> StaleReason | None:
        if cluster != self._cluster:
            return StaleReason.CLUSTER
        if self.now() - self._heard >= self.max_staleness_s:
            return StaleReason.SILENCE
        if horizon < self._floor:
            return StaleReason.FLOOR
        if version < self._told.get(loan_id, _NOTHING)[0]:
            return StaleReason.VERSION
        return None
