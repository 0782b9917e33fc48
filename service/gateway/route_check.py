"""Checks that the gateway routes to the service, in an order that does no harm.

A gateway that has to resolve a name that does not exist yet remembers that for a while (Kong for 30 s by default),
and answers 503 until then. So no request is sent through the gateway before the name is known.
"""

import socket
import time
from collections.abc import Callable

from service.gateway.registrator import RegistrationException

PATIENCE_S = 30  # longer than a platform takes to register an instance that answers


class RouteCheck:
    """Checks the route to an instance that has joined.

    Args:
        name: The name by which the gateway finds the service, for messages.
        is_known: Returns whether the name leads to this service.
        check: Calls the gateway's proxy, and returns what it found. Raises RegistrationException if calls do not arrive
            at the service.
    """

    def __init__(self, name: str, is_known: Callable[[], bool], check: Callable[[], str]) -> None:
        self._name = name
        self._is_known = is_known
        self._check = check

    def __call__(self) -> str:
        """Check the route, and return what was found.

        Raises:
            RegistrationException: If the name is not known yet, or if the gateway does not route to the service.
        """
        if not self._is_known():
            raise RegistrationException(
                f"{self._name} is not known yet; no request is sent through the gateway, because it would remember that"
            )
        return self._check()


class NameWatch:
    """Says whether a host name is known, as this machine resolves it.

    Not every machine resolves the names that the gateway resolves. So after a while the name counts as known: instances
    that the platform registers are registered by then.

    Args:
        host: The host name.
        patience_s: Seconds from the first call.
        now: A monotonic clock, in seconds.
    """

    def __init__(self, host: str, patience_s: float = PATIENCE_S, now: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._patience_s = patience_s
        self._now = now
        self._began_at: float | None = None

    def __call__(self) -> bool:
        """Return whether the name is known."""
        if self._began_at is None:
            self._began_at = self._now()
        return self._now() - self._began_at >= self._patience_s or resolves(self._host)


def resolves(host: str) -> bool:
    """Return whether a host name has an address, as this machine resolves it."""
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False
