"""Lines of the log as text."""

import time
from functools import lru_cache


def format_line(created: float, level: str, logger: str, label: str, message: str) -> str:
    """Return a line of the log.

    Args:
        created: The Unix time.
        level: The level's name.
        logger: The logger's name.
        label: What `request_label` returns for the request that the line belongs to.
        message: The message.
    """
    second = int(created)
    return f"{_format_second(second)},{int((created - second) * 1000):03d} {level} {logger} [{label}] {message}"


def request_label(request_id: str, trace_id: str) -> str:
    """Return how a line names its request."""
    return f"{request_id},trace_id={trace_id}" if trace_id else request_id or "-"


@lru_cache(8)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
