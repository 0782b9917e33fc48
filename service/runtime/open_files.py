"""Raises the limit of open files to what the connections of a worker need."""

import logging
import resource

log = logging.getLogger(__name__)

FILES_PER_CONNECTION = 2  # its socket, and the file that is being sent: the documentation page consists of files
RESERVED_FILES = 256  # of each worker: connections to Postgres and memcached, metrics, keys, the standard streams


def allow_connections(wanted: int) -> int:
    """Raise this process's limit of open files, which its workers inherit, as far as its hard limit permits.

    A worker without a free file descriptor would try to accept the same connection again and again.

    Args:
        wanted: The connections that each worker should accept.

    Returns:
        How many connections each worker can accept, at most `wanted`.
    """
    needed = FILES_PER_CONNECTION * wanted + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _allows(soft, needed):
        return wanted
    target = needed if _allows(hard, needed) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    except (OSError, ValueError):  # macOS: the kernel's own maximum is lower than the hard limit
        target = soft
    if target >= needed:
        return wanted
    possible = max(target - RESERVED_FILES, target // 2) // FILES_PER_CONNECTION
    log.warning(
        "MAX_CONNECTIONS=%d needs a limit of %d open files, but the limit is %d: each worker accepts %d connections; "
        "raise the hard limit (ulimit -Hn, LimitNOFILE)",
        wanted,
        needed,
        target,
        possible,
    )
    return possible


def _allows(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
