"""Stops calling a server that fails repeatedly."""

import threading
import time
from collections.abc import Callable

FAILURE_THRESHOLD = 3  # consecutive failures
COOLDOWN_S = 1.0


class CircuitBreaker:
    """Opens after consecutive failures, then allows one probe after each cooldown. Thread-safe.

    Args:
        now: A clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failures = 0
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the failure threshold has been reached since the last success."""
        return self._failures >= FAILURE_THRESHOLD

    def allows(self) -> bool:
        """Return whether the server may be called now. A caller that gets True must record the outcome."""
        if not self.is_open:
            return True
        with self._lock:
            if self._now() < self._next_probe:
                return False
            self._next_probe = self._now() + COOLDOWN_S  # other threads wait for the outcome of this probe
            return True

    def record_success(self) -> bool:
        """Close the circuit. Return whether it was open."""
        was_open = self.is_open
        self._failures = 0
        return was_open

    def record_failure(self) -> bool:
        """Count a failure. Return whether it opened the circuit."""
        with self._lock:
            self._failures += 1
            self._next_probe = self._now() + COOLDOWN_S
            return self._failures == FAILURE_THRESHOLD
