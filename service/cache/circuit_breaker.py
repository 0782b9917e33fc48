"""What is asked of a server that fails: nothing, for a while."""

import threading
import time
from collections.abc import Callable

FAILURES = 3  # in a row
PAUSE_S = 1.0


class CircuitBreaker:
    """Opens after some failures in a row; then one caller at a time may try, now and then.

    now: a clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the server is left alone."""
        return self._failures >= FAILURES

    def allows(self) -> bool:
        """Whether to ask now. Whoever may has to say how it went."""
        if not self.is_open:
            return True
        with self._lock:
            if self._now() < self._next_try:
                return False
            self._next_try = self._now() + PAUSE_S  # others wait for how this one fares
            return True

    def succeeded(self) -> bool:
        """It answered. Returns: whether it had been given up."""
        was_open = self.is_open
        self._failures = 0
        return was_open

    def failed(self) -> bool:
        """It did not. Returns: whether it is given up with this."""
        with self._lock:
            self._failures += 1
            self._next_try = self._now() + PAUSE_S
            return self._failures == FAILURES
