"""Which server to try first, so that one that is out of reach delays few connections and not every one."""

import random
import time
from collections.abc import Callable, Sequence

from service.net.hosts import Host

LATELY_S = 30.0


class HostRanking:
    """The order in which to try hosts: those that disappointed lately come last, the latest at the very end.

    shuffled: whether those that did not are equally good, so that load spreads; else they keep their order. now: a
    clock, in seconds. Threads may share one.
    """

    def __init__(self, shuffled: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._shuffled = shuffled
        self._now = now
        self._failed: dict[Host, float] = {}

    def of(self, hosts: Sequence[Host]) -> list[Host]:
        """These hosts, the best first."""
        since = self._now() - LATELY_S
        lately = {host: at for host, at in self._failed.copy().items() if at > since}
        equals = random.sample(hosts, len(hosts)) if self._shuffled else hosts
        return sorted(equals, key=lambda host: lately.get(host, since))

    def failed(self, host: Host) -> None:
        """Say that a host did not answer, or is not what was wanted."""
        self._failed[host] = self._now()
