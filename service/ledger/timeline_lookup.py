"""Looks up timelines in this process, memcached, a replica and the primary, in this order."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, Protocol

from native import Timeline
from service.errors import DatabaseUnavailable, UnknownLoan, VersionNotReached
from service.ledger.freshness import Freshness
from service.ledger.repository import Ledger
from service.ledger.single_flight import SingleFlight
from service.observability import metrics

IMMUTABLE = math.inf
LAYERS = ("process", "memcached", "replica", "primary", "revalidated")


class Cache(Protocol):
    """Stores timelines under the name of a cluster. It may drop them at any time."""

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """Return the stored timelines of these loans, which may be stale."""
        ...

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Store timelines as far as possible; failures are not reported."""
        ...


class ProcessCache(Cache, Protocol):
    """A cache in this process."""

    def get(self, cluster: str, loan_id: int) -> Timeline | None:
        """Return the stored timeline of a loan, which may be stale, or None. It does not wait."""
        ...


class LoanSnapshot(NamedTuple):
    """A timeline and the time up to which it is complete.

    Attributes:
        timeline: The loan's timeline.
        fresh_as_of: A reading of the freshness clock: the timeline includes every event that was committed before it.
            IMMUTABLE for a point-in-time timeline, to which no event is ever added.
    """

    timeline: Timeline
    fresh_as_of: float


class TimelineLookup:
    """Returns timelines that satisfy the contract of `service.ledger.freshness`.

    Args:
        primary: The ledger to read when no cached timeline is fresh.
        freshness: Checks cached timelines.
        caches: The nearest first, which is in this process.
        replica: A ledger that may lag. Its timelines are checked like cached ones.
    """

    def __init__(
        self,
        primary: Ledger,
        freshness: Freshness,
        caches: tuple[()] | tuple[ProcessCache, *tuple[Cache, ...]] = (),
        replica: Ledger | None = None,
    ) -> None:
        self._primary = primary
        self._freshness = freshness
        self._caches = caches
        self._replica = replica
        # Looking up a labeled counter for each request would be slow.
        self._counters = {layer: metrics.timelines.labels(layer) for layer in LAYERS}
        self._single_flight: SingleFlight[tuple[str | None, int], LoanSnapshot] = SingleFlight()

    def get(self, loan_id: int, min_version: int = 0) -> LoanSnapshot:
        """Return a fresh timeline of a loan.

        Args:
            loan_id: The loan.
            min_version: Read the primary if a fresh timeline is older than this version.

        Raises:
            UnknownLoan: If the loan does not exist.
            VersionNotReached: If the loan has fewer records than `min_version`.
            DatabaseUnavailable: If the primary has to be read and cannot be.
        """
        cluster = self._freshness.cluster  # read first: the listener may find another cluster during the lookup
        snapshot = self._get_fresh(loan_id)
        if snapshot.timeline.version < min_version:
            found = self._read_primary(cluster, [loan_id], {loan_id: snapshot.timeline})
            if loan_id not in found:  # lost in a failover
                raise UnknownLoan(loan_id)
            snapshot = found[loan_id]
        if snapshot.timeline.version < min_version:
            raise VersionNotReached(loan_id, snapshot.timeline.version, min_version)
        return snapshot

    def get_cached(self, loan_id: int) -> LoanSnapshot | None:
        """Return a fresh timeline of a loan if this process has one. It neither waits nor raises."""
        snapshot = self._get_from_process(loan_id)
        if snapshot is not None:
            self._counters["process"].inc()
        return snapshot

    def get_many(self, loan_ids: Sequence[int]) -> dict[int, LoanSnapshot]:
        """Return fresh timelines; unknown loans are left out.

        Each layer gets one request for all loans that are still missing.

        Raises:
            DatabaseUnavailable: If the primary has to be read and cannot be.
        """
        return self._fetch(self._freshness.cluster, loan_ids)

    def get_consistent(self, loan_ids: Sequence[int]) -> dict[int, LoanSnapshot]:
        """Return timelines that belong to one snapshot of the primary; unknown loans are left out.

        Raises:
            DatabaseUnavailable: If the primary cannot be read.
        """
        fresh_as_of = self._freshness.now()
        found = self._primary.timelines(loan_ids)
        self._counters["primary"].inc(len(found))
        return {loan_id: LoanSnapshot(timeline, fresh_as_of) for loan_id, timeline in found.items()}

    def get_at_version(self, loan_id: int, version: int) -> LoanSnapshot:
        """Return the timeline of a loan's first records, as many as `version` says.

        The answer is immutable, so any replica of the same cluster that has these records can give it. Caches store
        current timelines, so they help only if this is the current version.

        Raises:
            UnknownLoan: If the loan does not exist.
            VersionNotReached: If the loan has fewer records.
            DatabaseUnavailable: If the primary has to be read and cannot be.
        """
        cluster = self._freshness.cluster
        current = self._get_from_process(loan_id)
        if current is not None and current.timeline.version == version:
            self._counters["process"].inc()
            return LoanSnapshot(current.timeline, IMMUTABLE)
        if self._replica is not None and cluster is not None:
            try:
                found = self._replica.timeline_at(loan_id, version, cluster)
            except (UnknownLoan, VersionNotReached, DatabaseUnavailable):
                pass  # the primary may have it
            else:
                self._counters["replica"].inc()
                return LoanSnapshot(found, IMMUTABLE)
        found = self._primary.timeline_at(loan_id, version, cluster)
        self._counters["primary"].inc()
        return LoanSnapshot(found, IMMUTABLE)

    def get_known_at(self, loan_id: int, moment: datetime) -> LoanSnapshot:
        """Return the timeline of the events that had been recorded by a time. Only the primary can answer.

        Raises:
            UnknownLoan: If the loan was not recorded by then.
            TimeNotReached: If events may still be recorded with an earlier time.
            DatabaseUnavailable: If the primary cannot be read.
        """
        found = self._primary.timeline_known_at(loan_id, moment)
        self._counters["primary"].inc()
        return LoanSnapshot(found, IMMUTABLE)

    def get_many_known_at(self, loan_ids: Sequence[int], moment: datetime) -> dict[int, LoanSnapshot]:
        """Return the timelines of the events that had been recorded by a time. Only the primary can answer.

        Loans that were not recorded by then are left out.

        Raises:
            TimeNotReached: If events may still be recorded with an earlier time.
            DatabaseUnavailable: If the primary cannot be read.
        """
        found = self._primary.timelines_known_at(loan_ids, moment)
        self._counters["primary"].inc(len(found))
        return {loan_id: LoanSnapshot(timeline, IMMUTABLE) for loan_id, timeline in found.items()}

    def as_of(self, *snapshots: LoanSnapshot) -> datetime | None:
        """Return the time up to which every commit is in all of these snapshots.

        Returns:
            None where the answer does not depend on it: without snapshots, and if all of them are immutable.
        """
        if len(snapshots) == 1:
            oldest = snapshots[0].fresh_as_of
        else:
            oldest = min((snapshot.fresh_as_of for snapshot in snapshots), default=IMMUTABLE)
        if oldest == IMMUTABLE:
            return None
        return _to_datetime(int((time.time() - (self._freshness.now() - oldest)) * 1000))

    def _get_fresh(self, loan_id: int) -> LoanSnapshot:
        requested_at = self._freshness.now()
        snapshot = self.get_cached(loan_id)
        while snapshot is None or snapshot.fresh_as_of < requested_at - self._freshness.max_staleness_s:
            # A read that another thread began before this request may return a timeline that is too old for it.
            # The next read begins after the request, so this happens at most once.
            cluster = self._freshness.cluster
            try:
                snapshot = self._single_flight.do((cluster, loan_id), lambda: self._fetch_one(cluster, loan_id))  # noqa: B023
            except UnknownLoan as err:
                if err.fresh_as_of >= requested_at - self._freshness.max_staleness_s:
                    raise
        return snapshot

    def _get_from_process(self, loan_id: int) -> LoanSnapshot | None:
        cluster = self._freshness.cluster
        if cluster is None or not self._caches:
            return None
        timeline = self._caches[0].get(cluster, loan_id)
        return None if timeline is None else self._check(cluster, timeline)

    def _fetch_one(self, cluster: str | None, loan_id: int) -> LoanSnapshot:
        fresh_as_of = self._freshness.now()
        snapshot = self._fetch(cluster, [loan_id]).get(loan_id)
        if snapshot is None:
            raise UnknownLoan(loan_id, fresh_as_of)
        return snapshot

    def _fetch(self, cluster: str | None, loan_ids: Sequence[int]) -> dict[int, LoanSnapshot]:
        found: dict[int, LoanSnapshot] = {}
        stale: dict[int, Timeline] = {}
        if cluster is not None:
            for number, cache in enumerate(self._caches):
                cached = cache.get_many(cluster, _without(loan_ids, found))
                fresh = self._select_fresh(cluster, cached)
                self._store(cluster, fresh, self._caches[:number])
                self._counters[LAYERS[number]].inc(len(fresh))
                found |= fresh
                for loan_id in cached.keys() - fresh.keys():
                    if loan_id not in stale or stale[loan_id].version < cached[loan_id].version:
                        stale[loan_id] = cached[loan_id]
            found |= self._read_replica(cluster, _without(loan_ids, found), stale)
        return found | self._read_primary(cluster, _without(loan_ids, found), stale)

    def _read_replica(
        self, cluster: str, loan_ids: Sequence[int], cached: Mapping[int, Timeline]
    ) -> dict[int, LoanSnapshot]:
        """Return the replica's timelines that are fresh. The primary may have the others."""
        if self._replica is None or not loan_ids:
            return {}
        try:
            read = self._replica.timelines(loan_ids, cached, cluster)
        except DatabaseUnavailable:
            return {}
        # An older version than the cached one proves that the replica lags.
        candidates = {i: t for i, t in read.items() if i not in cached or t.version >= cached[i].version}
        fresh = self._select_fresh(cluster, candidates)
        self._store(cluster, fresh, self._caches)
        self._counters["replica"].inc(len(fresh))
        return fresh

    def _read_primary(
        self, cluster: str | None, loan_ids: Sequence[int], cached: Mapping[int, Timeline]
    ) -> dict[int, LoanSnapshot]:
        """Return the primary's timelines, which need no check; cached ones are revalidated."""
        if not loan_ids:
            return {}
        fresh_as_of = self._freshness.now()
        read = self._primary.timelines(loan_ids, cached, cluster)
        found = {loan_id: LoanSnapshot(timeline, fresh_as_of) for loan_id, timeline in read.items()}
        if cluster is not None:
            self._store(
                cluster,
                {i: snapshot for i, snapshot in found.items() if snapshot.timeline is not cached.get(i)},
                self._caches,
            )
        revalidated = sum(i in cached and cached[i].version == timeline.version for i, timeline in read.items())
        self._counters["revalidated"].inc(revalidated)
        self._counters["primary"].inc(len(read) - revalidated)
        return found

    def _select_fresh(self, cluster: str, cached: Mapping[int, Timeline]) -> dict[int, LoanSnapshot]:
        """Return the timelines that are fresh now."""
        checked = {loan_id: self._check(cluster, timeline) for loan_id, timeline in cached.items()}
        return {loan_id: snapshot for loan_id, snapshot in checked.items() if snapshot is not None}

    def _check(self, cluster: str, timeline: Timeline) -> LoanSnapshot | None:
        """Return the timeline if it is fresh now, else None after counting the reason."""
        stale_reason, fresh_as_of = self._freshness.check(cluster, timeline.loan_id, timeline.version, timeline.horizon)
        if stale_reason is None:
            return LoanSnapshot(timeline, fresh_as_of)
        metrics.distrusted.labels(stale_reason).inc()
        return None

    def _store(self, cluster: str, found: Mapping[int, LoanSnapshot], caches: tuple[Cache, ...]) -> None:
        if found:
            for cache in caches:
                cache.put_many(cluster, [snapshot.timeline for snapshot in found.values()])


def _without(loan_ids: Sequence[int], found: Mapping[int, LoanSnapshot]) -> Sequence[int]:
    return [loan_id for loan_id in loan_ids if loan_id not in found] if found else loan_ids


@lru_cache(1024)  # loans that were confirmed together are fresh as of the same time
def _to_datetime(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
