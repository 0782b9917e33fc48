"""The timelines that this process has used of late."""

import threading

from cachetools import LRUCache

from native import Timeline

OVERHEAD_BYTES = 4096  # of a timeline that is kept, besides its bytes


class RecentTimelines:
    """Keeps the timelines that were used last, up to so many bytes. Safe to use from many threads.

    A timeline is kept under the name of its database's cluster and its loan.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[tuple[str, int], Timeline] = LRUCache(max_bytes, getsizeof=_size)
        self._lock = threading.Lock()

    def get(self, cluster: str, loan_id: int) -> Timeline | None:
        """The loan's timeline as it was last put here, or None."""
        with self._lock:
            found: Timeline | None = self._kept.get((cluster, loan_id))
            return found

    def put(self, cluster: str, timeline: Timeline) -> None:
        """Keep it, unless a newer one is kept, or it is larger than all that may be."""
        key = (cluster, timeline.loan_id)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and (kept.version, kept.token) > (timeline.version, timeline.token):
                return  # a slow reader comes late
            if _size(timeline) <= self._kept.maxsize:
                self._kept[key] = timeline


def _size(timeline: Timeline) -> int:
    return int(timeline.nbytes) + OVERHEAD_BYTES
