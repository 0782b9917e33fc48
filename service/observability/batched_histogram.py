"""A histogram that writes many observations at a time."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from math import fsum
from typing import Any

from prometheus_client import Histogram

Labels = tuple[str | int, ...]


@dataclass(slots=True)
class _Batch:
    total: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)  # observations by the bucket's number


class BatchedHistogram:
    """A labeled histogram that collects observations, and writes those of one series together.

    It is not thread-safe: its owner adds and flushes under one lock.

    Args:
        name: The metric's name.
        documentation: Its help text.
        labels: The names of its labels.
        bounds: The upper bounds of its buckets, in ascending order.
    """

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], bounds: Sequence[float]) -> None:
        self._histogram = Histogram(name, documentation, labels, buckets=bounds)
        self._bounds = bounds
        self._batches: defaultdict[Labels, _Batch] = defaultdict(_Batch)
        self._children: dict[Labels, Any] = {}  # the library's lookup takes longer than an observation

    def add(self, labels: Labels, amounts: Sequence[float]) -> None:
        """Add observations of one series to its batch."""
        batch = self._batches[labels]
        batch.total += fsum(amounts)
        batch.buckets.update(map(bisect_left, repeat(self._bounds), amounts))

    def flush(self) -> None:
        """Write the batches.

        Raises:
            OSError: If a new series cannot be stored. What was not written stays in its batch.
        """
        for labels in sorted(self._batches, key=lambda labels: labels not in self._children):  # new ones last
            if labels not in self._children:
                self._children[labels] = self._histogram.labels(*labels)
            _write(self._children[labels], self._batches.pop(labels))


def _write(child: Any, batch: _Batch) -> None:
    # The library's `observe` adds one observation to these values. It has no public way to add several.
    child._sum.inc(batch.total)
    for number, count in batch.buckets.items():
        child._buckets[number].inc(count)
