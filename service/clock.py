"""The clock for deadlines."""

import time
from collections.abc import Callable
from functools import partial

# Returns a monotonic time in seconds. It includes time during which the machine is suspended, where supported.
boot_clock: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
