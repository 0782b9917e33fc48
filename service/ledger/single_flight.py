"""Merges simultaneous requests for the same thing into one."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs one call at a time for each key and shares its result with all threads that request it in that time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}

    def do(self, key: K, work: Callable[[], V]) -> V:
        """Return the result of `work`, or of the call with this key that is already running in another thread.

        An exception of the call is raised in every thread that waits for it.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                own_flight = self._flights[key] = Future()
        if flight is not None:
            return flight.result()
        try:
            own_flight.set_result(work())
        except BaseException as err:
            own_flight.set_exception(err)
        finally:
            with self._lock:
                del self._flights[key]
        return own_flight.result()
