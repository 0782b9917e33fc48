"""A counter for paths on which the library's own counter would take longer than the work it counts."""

from functools import cache
from threading import Lock

from prometheus_client import Counter

from service.observability.batches import on_flush


class BatchedCounter:
    """A labeled counter that adds up in memory and is written with the next batch.

    Args:
        name: The metric's name.
        documentation: Its help text.
        labels: The names of its labels.
    """

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self._counter = Counter(name, documentation, labels)
        self.labels = cache(self._child)  # the library's lookup takes several times as long

    def _child(self, *values: str) -> "_Child":
        return _Child(self._counter.labels(*values))


class _Child:
    """The counter of one combination of labels."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._lock = Lock()
        self._pending = 0
        on_flush(self.flush)

    def inc(self, amount: int = 1) -> None:
        """Increase the value."""
        with self._lock:
            self._pending += amount

    def flush(self) -> None:
        """Write what was counted since the last call."""
        with self._lock:
            pending, self._pending = self._pending, 0
        if pending:
            self._counter.inc(pending)
