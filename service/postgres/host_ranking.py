"""Decides which server to try first, so that an unreachable one does not delay every connection."""

import random
import time
from collections.abc import Callable, Sequence

from service.net.hosts import Host

FAILURE_MEMORY_S = 30.0


class HostRanking:
    """Orders hosts for connecting: those that failed recently come last, the latest failure at the very end.

    Threads may share one.

    Args:
        shuffled: Whether to shuffle the other hosts, which spreads the load. Otherwise they keep their order.
        now: A clock, in seconds.
    """

    def __init__(self, shuffled: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._shuffled = shuffled
        self._now = now
        self._failed: dict[Host, float] = {}

    def ranked(self, hosts: Sequence[Host]) -> list[Host]:
        """Return the hosts, the best first."""
        since = self._now() - FAILURE_MEMORY_S
        recent = {host: at for host, at in self._failed.copy().items() if at > since}
        candidates = random.sample(hosts, len(hosts)) if self._shuffled else hosts
        return sorted(candidates, key=lambda host: recent.get(host, since))

    def report_failure(self, host: Host) -> None:
        """Record that a host is unreachable or has the wrong role."""
        self._failed[host] = self._now()
