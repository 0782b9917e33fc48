"""A counter for paths on which the library's own counter would take longer than the work it counts."""

from collections.abc import Callable
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
        return _Child(lambda: self._counter.labels(*values))


class _Child:
    """The counter of one combination of labels. Counting opens no file, so it cannot fail: the first flush does."""

    def __init__(self, open_counter: Callable[[], Counter]) -> None:
        self._open_counter = open_counter
        self._counter: Counter | None = None
        self._lock = Lock()
        self._pending = 0
        on_flush(self.flush)

    def inc(self, amount: int = 1) -> None:
        """Increase the value."""
        with self._lock:
            self._pending += amount

    def flush(self) -> None:
        """Write what was counted since the last call.

        Raises:
            OSError: If a new series cannot be stored. What was counted is written later.
        """
        if self._counter is None:
            self._counter = self._open_counter()
        with self._lock:
            pending, self._pending = self._pending, 0
        if pending:
            self._counter.inc(pending)
