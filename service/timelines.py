"""Where a loan's timeline is looked for, and in which order: this process, memcached, a replica, the primary."""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from native import Timeline
from service import metrics
from service.errors import DatabaseUnavailable, UnknownLoan, VersionNotReached
from service.freshness import Freshness
from service.ledger import Ledger
from service.single_flight import SingleFlight

FOR_EVER = math.inf
LAYERS = ("process", "memcached", "replica", "primary", "revalidated")


class Cache(Protocol):
    """Something that keeps timelines under the name of a cluster, and may forget them."""

    def get(self, cluster: str, loan_id: int) -> Timeline | None:
        """What is kept, or None. It may be old."""
        ...

    def put(self, cluster: str, timeline: Timeline) -> None:
        """Have it kept, if that can be done."""
        ...


@dataclass(frozen=True)
class Known:
    """A loan's timeline. at: whatever was committed before is in it (a reading of the clock of freshness); FOR_EVER of
    one as it was at a version, which nothing is added to."""

    timeline: Timeline
    at: float


class Timelines:
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
        self._flights: SingleFlight[tuple[str | None, int], Known] = SingleFlight()

    def find(self, loan_id: int, min_version: int = 0) -> Known:
        """The loan's timeline, of this version at least.

        Raises: UnknownLoan; DatabaseUnavailable; VersionNotReached when the primary does not have that version.
        """
        cluster = self._freshness.cluster  # before: what is found may be of it, and not of the one heard of meanwhile
        known = self._find(loan_id)
        if known.timeline.version < min_version:
            known = self._ask_primary(cluster, loan_id, known.timeline)
        if known.timeline.version < min_version:
            raise VersionNotReached(loan_id, known.timeline.version, min_version)
        return known

    def find_at(self, loan_id: int, version: int) -> Known:
        """The loan's timeline as it was when it had so many events. It never changes, so a replica of the cluster that
        has them is as good as the primary; caches know loans as they are now, and are no help with an older version.

        Raises: UnknownLoan; DatabaseUnavailable; VersionNotReached when the primary does not have that version.
        """
        cluster = self._freshness.cluster
        recent = self._recent(loan_id)
        if recent is not None and recent.timeline.version == version:
            self._found["process"].inc()
            return Known(recent.timeline, FOR_EVER)
        if self._replica is not None and cluster is not None:
            try:
                found = self._replica.timeline_at(loan_id, version, cluster)
            except (UnknownLoan, VersionNotReached, DatabaseUnavailable):
                pass  # perhaps only there
            else:
                self._found["replica"].inc()
                return Known(found, FOR_EVER)
        found = self._primary.timeline_at(loan_id, version, cluster)
        self._found["primary"].inc()
        return Known(found, FOR_EVER)

    def as_of(self, known: Known) -> datetime | None:
        """Up to when whatever was committed is in it, by the clock on the wall; None if that does not matter to it."""
        if known.at == FOR_EVER:
            return None
        return datetime.fromtimestamp(time.time() - (self._freshness.now() - known.at), UTC)

    def _find(self, loan_id: int) -> Known:
        asked_at = self._freshness.now()
        known = self._recent(loan_id)
        if known is not None:
            self._found["process"].inc()
        while known is None or known.at < asked_at - self._freshness.max_staleness_s:
            # another thread may have begun before we were asked; what it finds may be too old for us, once
            cluster = self._freshness.cluster
            try:
                known = self._flights.do((cluster, loan_id), lambda: self._fetch(cluster, loan_id))  # noqa: B023
            except UnknownLoan as err:
                if err.known_at >= asked_at - self._freshness.max_staleness_s:
                    raise
        return known

    def _recent(self, loan_id: int) -> Known | None:
        cluster = self._freshness.cluster
        if cluster is None or not self._caches:
            return None
        return self._if_trusted(cluster, self._caches[0].get(cluster, loan_id))

    def _fetch(self, cluster: str | None, loan_id: int) -> Known:
        held: Timeline | None = None
        if cluster is not None:
            for number, cache in enumerate(self._caches):
                found = cache.get(cluster, loan_id)
                known = self._if_trusted(cluster, found)
                if known is not None:
                    self._keep(cluster, known.timeline, self._caches[:number])
                    self._found[LAYERS[number]].inc()
                    return known
                if found is not None and (held is None or found.version > held.version):
                    held = found
        return self._ask_replica(cluster, loan_id, held) or self._ask_primary(cluster, loan_id, held)

    def _ask_replica(self, cluster: str | None, loan_id: int, held: Timeline | None) -> Known | None:
        if self._replica is None or cluster is None:
            return None
        try:
            found = self._replica.timeline(loan_id, held, cluster)
        except (UnknownLoan, DatabaseUnavailable):
            return None  # perhaps only there
        if held is not None and found.version < held.version:
            return None  # it lags
        known = self._if_trusted(cluster, found)
        if known is not None:
            self._keep(cluster, found, self._caches)
            self._found["replica"].inc()
        return known

    def _ask_primary(self, cluster: str | None, loan_id: int, held: Timeline | None) -> Known:
        known_at = self._freshness.now()
        try:
            found = self._primary.timeline(loan_id, held, cluster)
        except UnknownLoan:
            raise UnknownLoan(loan_id, known_at) from None
        if cluster is not None and found is not held:
            self._keep(cluster, found, self._caches)
        self._found["revalidated" if held and held.version == found.version else "primary"].inc()
        return Known(found, known_at)

    def _if_trusted(self, cluster: str, found: Timeline | None) -> Known | None:
        if found is None:
            return None
        doubt, known_at = self._freshness.judge(cluster, found.loan_id, found.version, found.token)
        if doubt is not None:
            metrics.distrusted.labels(doubt).inc()
            return None
        return Known(found, known_at)

    def _keep(self, cluster: str, timeline: Timeline, caches: tuple[Cache, ...]) -> None:
        for cache in caches:
            cache.put(cluster, timeline)
