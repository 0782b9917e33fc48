"""Checks that the gateway routes to the service, in an order that does no harm.

A gateway that has to resolve a name that does not exist yet remembers that for a while (Kong for 30 s by default),
and answers 503 until then. So no request is sent through the gateway before the name is known.
"""

import socket
from collections.abc import Callable

from service.gateway.registrator import RegistrationException


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


def resolves(host: str) -> bool:
    """Return whether a host name has an address, as this machine resolves it."""
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False
