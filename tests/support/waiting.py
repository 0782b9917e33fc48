"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 40.0  # far more than anything takes on a busy machine


def wait_until(
    condition: Callable[[], Any],
    seconds: float = PATIENCE_S,
    interval_s: float = 0.02,
    *,
    read_log: Callable[[], str] = str,
) -> None:
    """Return when the condition holds; fail with the log if it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s\n{read_log()}"
        time.sleep(interval_s)
