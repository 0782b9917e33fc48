"""The clock that deadlines are kept by."""

import time


def running_clock() -> float:
    """Seconds that pass also while the machine is suspended, where the system tells."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
