"""Caches the most recently used timelines in this process."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from native import Timeline

# Memory per cached timeline beyond `sys.getsizeof`: its key, its places in the tables, and what the allocator adds.
# A test compares the sum with the memory of a process.
ENTRY_BYTES = 160


class TimelineLru:
    """A least recently used cache of the timelines of one cluster, keyed by loan. Thread-safe.

    Storing timelines of another cluster drops the cached ones, which no longer count.

    Args:
        max_bytes: The size limit; 0 disables the cache.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._lock = threading.Lock()  # of writers
        # One attribute, so that a reader without the lock cannot find another cluster's timelines.
        self._content: tuple[str | None, OrderedDict[int, Timeline]] = (None, OrderedDict())

    @property
    def nbytes(self) -> int:
        """The memory that the cached timelines occupy."""
        return self._nbytes

    def get(self, cluster: str, loan_id: int) -> Timeline | None:
        """Return the cached timeline of a loan, or None. It does not wait for other threads."""
        cached_cluster, timelines = self._content
        if cached_cluster != cluster:
            return None
        try:
            timelines.move_to_end(loan_id)
        except KeyError:
            return None
        return timelines.get(loan_id)  # None if another thread has just evicted it

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """Return the cached timelines of these loans."""
        found = ((loan_id, self.get(cluster, loan_id)) for loan_id in loan_ids)
        return {loan_id: timeline for loan_id, timeline in found if timeline is not None}

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Cache timelines, except those that are older than the cached one or larger than the whole cache."""
        with self._lock:
            if self._content[0] != cluster:
                self._content = (cluster, OrderedDict())
                self._nbytes = 0
            for timeline in timelines:
                self._put(self._content[1], timeline)

    def _put(self, cached: OrderedDict[int, Timeline], timeline: Timeline) -> None:
        size = _size(timeline)
        if size > self._max_bytes:
            return
        previous = cached.get(timeline.loan_id)
        if previous is not None:
            if (previous.version, previous.horizon) > (timeline.version, timeline.horizon):
                return  # read by a slower thread before the cached one
            self._nbytes -= _size(previous)
        cached[timeline.loan_id] = timeline
        cached.move_to_end(timeline.loan_id)
        self._nbytes += size
        while self._nbytes > self._max_bytes:
            _, evicted = cached.popitem(last=False)
            self._nbytes -= _size(evicted)


def _size(timeline: Timeline) -> int:
    return sys.getsizeof(timeline) + ENTRY_BYTES
