"""The timelines that this process has used of late."""

import threading
from collections.abc import Iterable, Sequence

from cachetools import LRUCache

from native import Timeline

OVERHEAD_BYTES = 4096  # of a timeline that is kept, besides its bytes


class TimelineLru:
    """Keeps the timelines that were used last, up to so many bytes. Safe to use from many threads.

    A timeline is kept under the name of its database's cluster and its loan.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[tuple[str, int], Timeline] = LRUCache(max_bytes, getsizeof=_size)
        self._lock = threading.Lock()

    def get_many(self, cluster: str, loan_ids: Sequence[int]) -> dict[int, Timeline]:
        """Those of these loans' timelines that are here, as they were last put."""
        with self._lock:
            found = ((loan_id, self._kept.get((cluster, loan_id))) for loan_id in loan_ids)
            return {loan_id: timeline for loan_id, timeline in found if timeline is not None}

    def put_many(self, cluster: str, timelines: Iterable[Timeline]) -> None:
        """Keep each, unless a newer one is kept, or it is larger than all that may be."""
        with self._lock:
            for timeline in timelines:
                key = (cluster, timeline.loan_id)
                kept = self._kept.get(key)
                if kept is not None and (kept.version, kept.horizon) > (timeline.version, timeline.horizon):
                    continue  # a slow reader comes late
                if _size(timeline) <= self._kept.maxsize:
                    self._kept[key] = timeline


def _size(timeline: Timeline) -> int:
    return int(timeline.nbytes) + OVERHEAD_BYTES
