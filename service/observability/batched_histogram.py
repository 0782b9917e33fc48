"""A histogram that writes many observations at a time."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from math import fsum
from typing import Any

from prometheus_client import Histogram

Labels = tuple[str | int, ...]


class BatchedHistogram:
    """A labeled histogram that writes a batch of observations of one series as a whole.

    It is not thread-safe: its owner adds and flushes under one lock.

    Args:
        name: The metric's name.
        documentation: Its help text.
        labels: The names of its labels.
        buckets: The upper bounds.
    """

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], buckets: Sequence[float]) -> None:
        self._histogram = Histogram(name, documentation, labels, buckets=buckets)
        self._children: dict[Labels, Any] = {}  # the library's lookup takes longer than an observation
        self._pending: dict[Labels, list[float]] = {}

    def add(self, labels: Labels, amounts: list[float]) -> None:
        """Add observations of one series to the batch."""
        self._pending.setdefault(labels, []).extend(amounts)

    def flush(self) -> None:
        """Write the batch.

        Raises:
            OSError: If a new series cannot be stored. What was not written stays in the batch.
        """
        while self._pending:
            labels = next(iter(self._pending))
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._histogram.labels(*labels)
            observe_many(child, self._pending.pop(labels))


def observe_many(histogram: Any, amounts: Sequence[float]) -> None:
    """Do what `histogram.observe` does for each amount. The library has no public way to do it in one step."""
    histogram._sum.inc(fsum(amounts))
    for number, amount in Counter(map(bisect_left, repeat(histogram._upper_bounds), amounts)).items():
        histogram._buckets[number].inc(amount)
