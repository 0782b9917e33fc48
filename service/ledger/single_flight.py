"""Many ask for the same thing at once; one fetches it for all."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs one piece of work at a time for each key, and gives what comes out to everybody who asked meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}

    def do(self, key: K, work: Callable[[], V]) -> V:
        """What `work` returns, here or in the thread that has begun it already. Raises: what it raises."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                mine = self._flights[key] = Future()
        if flight is not None:
            return flight.result()
        try:
            mine.set_result(work())
        except BaseException as err:
            mine.set_exception(err)
        finally:
            with self._lock:
                del self._flights[key]
        return mine.result()
