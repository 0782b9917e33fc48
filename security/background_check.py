"""A check that a background thread repeats for as long as its result is used."""

import threading
import time
import weakref
from collections.abc import Callable

IDLE_S = 30.0  # how long the thread continues without use


class BackgroundCheck:
    """Repeats a check in a daemon thread, which ends when it is no longer used or the check's object is gone.

    Args:
        check: The method to repeat. It must not raise.
        interval_s: The pause between two checks, in seconds.
        idle_s: How long the thread continues without use, in seconds.
    """

    def __init__(self, check: Callable[[], None], interval_s: float, idle_s: float = IDLE_S) -> None:
        self._check = weakref.WeakMethod(check)
        self._interval_s = interval_s
        self._idle_s = idle_s
        self._used = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep_running(self) -> None:
        """Note a use. This is cheap, and does not start a thread that has ended."""
        self._used = True

    def start(self) -> None:
        """Start the thread unless it runs. It does not survive a fork, so a forked process starts another one."""
        self._used = True
        if self._lock.acquire(blocking=False):  # otherwise another thread is starting it
            try:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="background-check", daemon=True)
                    self._thread.start()
            finally:
                self._lock.release()

    def _run(self) -> None:
        idle_since = time.monotonic()
        while self._used or time.monotonic() - idle_since < self._idle_s:
            if self._used:
                self._used = False
                idle_since = time.monotonic()
            check = self._check()
            if check is None:
                return
            check()
            del check  # a reference would keep the object alive
            time.sleep(self._interval_s)
