"""Caches the most recently used timelines in this process."""

import threading
from collections.abc import Iterable, Sequence

from cachetools import LRUCache

from native import Timeline

OVERHEAD_BYTES = 4096  # memory per cached timeline beyond its bytes


class TimelineLru:
    """A least recently used cache, keyed by cluster and loan. Thread-safe.

    Args:
        max_bytes: The size limit; 0 disables the cache.
    """

    def __init__(self, max_bytes: int) -> None:
        self._cache: LRUCache[tuple[str, int], Timeline] = LRUCache(max_bytes, getsizeof=_size)
        self._lock = threading.Lock()

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """Return the cached timelines of these loans."""
        with self._lock:
            found = ((loan_id, self._cache.get((cluster, loan_id))) for loan_id in loan_ids)
            return {loan_id: timeline for loan_id, timeline in found if timeline is not None}

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Cache timelines, except those that are older than the cached one or larger than the whole cache."""
        with self._lock:
            for timeline in timelines:
                key = (cluster, timeline.loan_id)
                cached = self._cache.get(key)
                if cached is not None and (cached.version, cached.horizon) > (timeline.version, timeline.horizon):
                    continue  # read by a slower thread before the cached one
                if _size(timeline) <= self._cache.maxsize:
                    self._cache[key] = timeline


def _size(timeline: Timeline) -> int:
    return int(timeline.nbytes) + OVERHEAD_BYTES
