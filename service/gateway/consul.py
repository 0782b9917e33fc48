"""Registration with the local Consul agent, for whoever is not registered from outside."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from consul import Check, Consul, ConsulException

from service.net.urls import without_password

TIMEOUT_S = 5
CHECK_INTERVAL = "5s"
CHECK_TIMEOUT = "3s"
FORGET_AFTER = "1m"  # an instance that was killed; Consul takes no less

T = TypeVar("T")


class ConsulUnavailable(Exception):
    """The agent did not do it. The message names its address and what it said."""


class ConsulAgent:
    """The agent at `url`, to which one instance of a service is made known. token: for an agent with access rules."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = without_password(url)
        parts = urlsplit(url)
        host = parts.hostname or "127.0.0.1"
        self._consul: Any = Consul(
            host=f"[{host}]" if ":" in host else host,
            port=parts.port or (443 if parts.scheme == "https" else 8500),
            scheme=parts.scheme,
            token=token,
            connections_timeout=TIMEOUT_S,
        )

    def register(self, name: str, instance: str, host: str, port: int, health_url: str) -> None:
        """Make an instance known, with a check of its health. Safe to call again. Raises: ConsulUnavailable."""
        check = Check.http(health_url, CHECK_INTERVAL, timeout=CHECK_TIMEOUT, deregister=FORGET_AFTER)
        if health_url.startswith("https:"):
            # The agent asks at an address, which no certificate names; what it asks and hears is no secret.
            check["TLSSkipVerify"] = True
        self._ask(
            lambda: self._consul.agent.service.register(
                name, service_id=instance, address=host, port=port, tags=["microkubes"], check=check
            )
        )

    def knows(self, instance: str) -> bool:
        """Whether an instance is known. Raises: ConsulUnavailable."""
        return bool(instance in self._ask(self._consul.agent.services))

    def deregister(self, instance: str) -> None:
        """Make an instance known no more. Raises: ConsulUnavailable."""
        self._ask(lambda: self._consul.agent.service.deregister(instance))

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (ConsulException, requests.RequestException, OSError, ValueError) as err:
            reason = "cannot be reached" if isinstance(err, requests.RequestException) else str(err)
            raise ConsulUnavailable(f"the Consul agent at {self.url}: {reason}") from err
