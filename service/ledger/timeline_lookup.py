"""Where a loan's timeline is looked for, and in which order: this process, memcached, a replica, the primary."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
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
    """Something that keeps timelines under the name of a cluster, and may forget them."""

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """What is kept of these loans. It may be old."""
        ...

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Have them kept, as far as that can be done."""
        ...


class LoanSnapshot(NamedTuple):
    """A loan's timeline. at: whatever was committed before is in it (a reading of the clock of freshness); FOR_EVER of
    one as it was at a version, which nothing is added to."""

    timeline: Timeline
    fresh_as_of: float


class TimelineLookup:
    """Finds timelines that are as fresh as the contract asks (see service/freshness.py).

    caches: the nearest first. replica: a ledger that may lag, and is believed only as a cache is.
    """

    def __init__(
        self, primary: Ledger, freshness: Freshness, caches: tuple[Cache, ...] = (), replica: Ledger | None = None
    ) -> None:
        self._primary = primary
        self._freshness = freshness
        self._caches = caches
        self._replica = replica
        self._found = {layer: metrics.timelines.labels(layer) for layer in LAYERS}  # looked up once: it takes long
        self._flights: SingleFlight[tuple[str | None, int], LoanSnapshot] = SingleFlight()

    def get(self, loan_id: int, min_version: int = 0) -> LoanSnapshot:
        """The loan's timeline, of this version at least.

        Raises: UnknownLoan; DatabaseUnavailable; VersionNotReached when the primary does not have that version.
        """
        cluster = self._freshness.cluster  # before: what is found may be of it, and not of the one heard of meanwhile
        snapshot = self._find(loan_id)
        if snapshot.timeline.version < min_version:
            found = self._ask_primary(cluster, [loan_id], {loan_id: snapshot.timeline})
            if loan_id not in found:  # a failover has lost it
                raise UnknownLoan(loan_id)
            snapshot = found[loan_id]
        if snapshot.timeline.version < min_version:
            raise VersionNotReached(loan_id, snapshot.timeline.version, min_version)
        return snapshot

    def get_many(self, loan_ids: Sequence[int]) -> dict[int, LoanSnapshot]:
        """The timelines of those of these loans that there are. Each place is asked once, for all that are missing yet.

        Raises: DatabaseUnavailable.
        """
        return self._fetch(self._freshness.cluster, loan_ids)

    def get_consistent(self, loan_ids: Sequence[int]) -> dict[int, LoanSnapshot]:
        """The timelines of those of these loans that there are, all of one snapshot of the primary.

        Raises: DatabaseUnavailable.
        """
        at = self._freshness.now()
        found = self._primary.timelines(loan_ids)
        self._found["primary"].inc(len(found))
        return {loan_id: LoanSnapshot(timeline, at) for loan_id, timeline in found.items()}

    def get_at_version(self, loan_id: int, version: int) -> LoanSnapshot:
        """The loan's timeline as it was when it had so many events. It never changes, so a replica of the cluster that
        has them is as good as the primary; caches know loans as they are now, and are no help with an older version.

        Raises: UnknownLoan; DatabaseUnavailable; VersionNotReached when the primary does not have that version.
        """
        cluster = self._freshness.cluster
        recent = self._recent(loan_id)
        if recent is not None and recent.timeline.version == version:
            self._found["process"].inc()
            return LoanSnapshot(recent.timeline, IMMUTABLE)
        if self._replica is not None and cluster is not None:
            try:
                found = self._replica.timeline_at(loan_id, version, cluster)
            except (UnknownLoan, VersionNotReached, DatabaseUnavailable):
                pass  # perhaps only there
            else:
                self._found["replica"].inc()
                return LoanSnapshot(found, IMMUTABLE)
        found = self._primary.timeline_at(loan_id, version, cluster)
        self._found["primary"].inc()
        return LoanSnapshot(found, IMMUTABLE)

    def get_known_at(self, loan_id: int, moment: datetime) -> LoanSnapshot:
        """The loan's timeline as far as it was recorded by then, which only the primary can tell.

        Raises: UnknownLoan; DatabaseUnavailable; TimeNotReached when something may still be recorded before then.
        """
        found = self._primary.timeline_known(loan_id, moment)
        self._found["primary"].inc()
        return LoanSnapshot(found, IMMUTABLE)

    def as_of(self, *snapshots: LoanSnapshot) -> datetime | None:
        """Return the time up to which every commit is in all of these snapshots.

        Returns:
            None where the answer does not depend on it: without snapshots, and if all of them are immutable.
        """
        oldest = min((snapshot.fresh_as_of for snapshot in snapshots), default=IMMUTABLE)
        if oldest == IMMUTABLE:
            return None
        return datetime.fromtimestamp(time.time() - (self._freshness.now() - oldest), UTC)

    def _find(self, loan_id: int) -> LoanSnapshot:
        asked_at = self._freshness.now()
        snapshot = self._recent(loan_id)
        if snapshot is not None:
            self._found["process"].inc()
        while snapshot is None or snapshot.fresh_as_of < asked_at - self._freshness.max_staleness_s:
            # another thread may have begun before we were asked; what it finds may be too old for us, once
            cluster = self._freshness.cluster
            try:
                snapshot = self._flights.do((cluster, loan_id), lambda: self._fetch_one(cluster, loan_id))  # noqa: B023
            except UnknownLoan as err:
                if err.fresh_as_of >= asked_at - self._freshness.max_staleness_s:
                    raise
        return snapshot

    def _recent(self, loan_id: int) -> LoanSnapshot | None:
        cluster = self._freshness.cluster
        if cluster is None or not self._caches:
            return None
        kept = self._caches[0].get_many(cluster, (loan_id,))
        return self._trusted(cluster, kept).get(loan_id) if kept else None

    def _fetch_one(self, cluster: str | None, loan_id: int) -> LoanSnapshot:
        fresh_as_of = self._freshness.now()
        snapshot = self._fetch(cluster, [loan_id]).get(loan_id)
        if snapshot is None:
            raise UnknownLoan(loan_id, fresh_as_of)
        return snapshot

    def _fetch(self, cluster: str | None, loan_ids: Sequence[int]) -> dict[int, LoanSnapshot]:
        found: dict[int, LoanSnapshot] = {}
        held: dict[int, Timeline] = {}
        if cluster is not None:
            for number, cache in enumerate(self._caches):
                kept = cache.get_many(cluster, _without(loan_ids, found))
                trusted = self._trusted(cluster, kept)
                self._keep(cluster, trusted, self._caches[:number])
                self._found[LAYERS[number]].inc(len(trusted))
                found |= trusted
                for loan_id in kept.keys() - trusted.keys():
                    if loan_id not in held or held[loan_id].version < kept[loan_id].version:
                        held[loan_id] = kept[loan_id]
            found |= self._ask_replica(cluster, _without(loan_ids, found), held)
        return found | self._ask_primary(cluster, _without(loan_ids, found), held)

    def _ask_replica(
        self, cluster: str, loan_ids: Sequence[int], held: Mapping[int, Timeline]
    ) -> dict[int, LoanSnapshot]:
        """What the replica can be believed of them; the rest is perhaps only at the primary."""
        if self._replica is None or not loan_ids:
            return {}
        try:
            shown = self._replica.timelines(loan_ids, held, cluster)
        except DatabaseUnavailable:
            return {}
        current = {i: t for i, t in shown.items() if i not in held or t.version >= held[i].version}  # or it lags
        trusted = self._trusted(cluster, current)
        self._keep(cluster, trusted, self._caches)
        self._found["replica"].inc(len(trusted))
        return trusted

    def _ask_primary(
        self, cluster: str | None, loan_ids: Sequence[int], held: Mapping[int, Timeline]
    ) -> dict[int, LoanSnapshot]:
        if not loan_ids:
            return {}
        fresh_as_of = self._freshness.now()
        read = self._primary.timelines(loan_ids, held, cluster)
        found = {loan_id: LoanSnapshot(timeline, fresh_as_of) for loan_id, timeline in read.items()}
        if cluster is not None:
            self._keep(
                cluster,
                {i: snapshot for i, snapshot in found.items() if snapshot.timeline is not held.get(i)},
                self._caches,
            )
        stood = sum(i in held and held[i].version == timeline.version for i, timeline in read.items())
        self._found["revalidated"].inc(stood)
        self._found["primary"].inc(len(read) - stood)
        return found

    def _trusted(self, cluster: str, kept: Mapping[int, Timeline]) -> dict[int, LoanSnapshot]:
        """Those of them that may be said now."""
        trusted = {}
        for loan_id, timeline in kept.items():
            stale_reason, fresh_as_of = self._freshness.check(cluster, loan_id, timeline.version, timeline.horizon)
            if stale_reason is None:
                trusted[loan_id] = LoanSnapshot(timeline, fresh_as_of)
            else:
                metrics.distrusted.labels(stale_reason).inc()
        return trusted

    def _keep(self, cluster: str, found: Mapping[int, LoanSnapshot], caches: tuple[Cache, ...]) -> None:
        if found:
            for cache in caches:
                cache.put_many(cluster, [snapshot.timeline for snapshot in found.values()])


def _without(loan_ids: Sequence[int], found: Mapping[int, LoanSnapshot]) -> Sequence[int]:
    return [loan_id for loan_id in loan_ids if loan_id not in found] if found else loan_ids
