"""The clock for deadlines."""

import time


def boot_clock() -> float:
    """Return a monotonic time in seconds. It includes time during which the machine is suspended, where supported."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
