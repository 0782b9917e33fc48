"""Registration with the local Consul agent, for instances that nothing else registers.

Source: Consul's HTTP API, https://developer.hashicorp.com/consul/api-docs/agent/service.
"""

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from service.net.session import direct_session
from service.net.urls import with_port, without_password

TIMEOUT_S = 5
CHECK_INTERVAL = "2s"
CHECK_TIMEOUT = "3s"
DEREGISTER_AFTER = "1m"  # for instances that were killed; Consul's minimum
DEFAULT_PORTS = {"http": 8500, "https": 443}
MAX_MESSAGE_CHARS = 300


class ConsulUnavailable(Exception):
    """A request to the agent failed. The message names its address and its reply."""


class ConsulAgent:
    """Registers instances of a service with a Consul agent.

    Args:
        url: URL of the agent, without a path.
        token: ACL token of the agent.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = without_password(url)
        parts = urlsplit(url)
        address = with_port(parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORTS[parts.scheme])
        self._base_url = f"{parts.scheme}://{address}/v1"
        self._session = direct_session()
        if token:
            self._session.headers["X-Consul-Token"] = token

    def register(self, name: str, instance: str, host: str, port: int, url: str, is_ready: bool) -> None:
        """Register an instance with two health checks, or replace its registration; idempotent.

        DNS returns the instance while both succeed. One that lives but is not ready, such as without Postgres, stays
        registered, so that it is back within CHECK_INTERVAL once it is ready.

        Args:
            name: Name of the service.
            instance: Id of the instance, unique on the agent.
            host: Address at which the instance is reached.
            port: Port at which the instance is reached.
            url: URL of the instance, without a path.
            is_ready: Whether the instance is ready now, before the first check.

        Raises:
            ConsulUnavailable: If the agent is unreachable or rejects the request.
        """
        alive = _check(instance, "alive", f"{url}/healthcheck", is_passing=True)
        service = {
            "name": name,
            "id": instance,
            "address": host,
            "port": port,
            "tags": ["microkubes"],
            "checks": [
                {**alive, "DeregisterCriticalServiceAfter": DEREGISTER_AFTER},
                _check(instance, "ready", f"{url}/ready", is_passing=is_ready),
            ],
        }
        self._request("PUT", "/agent/service/register?replace-existing-checks=true", service)

    def is_registered(self, instance: str) -> bool:
        """Return whether the agent has an instance.

        Raises:
            ConsulUnavailable: If the agent is unreachable or rejects the request.
        """
        try:
            services = json.loads(self._request("GET", "/agent/services"))
        except (ValueError, RecursionError):
            services = None
        if not isinstance(services, dict):
            raise ConsulUnavailable(f"the Consul agent at {self.url}: GET /v1/agent/services answered no JSON object")
        return instance in services

    def has_healthy(self, name: str) -> bool:
        """Return whether all checks of any instance of a service succeed, so that DNS has an address for its name.

        This is what the catalog has, as DNS does, and not what the agent has yet to pass on to it.

        Raises:
            ConsulUnavailable: If the agent is unreachable or rejects the request.
        """
        path = f"/health/service/{quote(name, safe='')}?passing=true"
        try:
            entries = json.loads(self._request("GET", path))
        except (ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise ConsulUnavailable(f"the Consul agent at {self.url}: GET /v1{path} answered no JSON array")
        return bool(entries)

    def deregister(self, instance: str) -> None:
        """Deregister an instance; does nothing if the agent does not have it.

        Raises:
            ConsulUnavailable: If the agent is unreachable or rejects the request.
        """
        self._request("PUT", f"/agent/service/deregister/{quote(instance, safe=':')}", expected=(200, 404))

    def _request(self, method: str, path: str, body: object = None, expected: Collection[int] = (200,)) -> bytes:
        try:
            response = self._session.request(
                method, self._base_url + path, json=body, timeout=TIMEOUT_S, allow_redirects=False
            )
        except (requests.RequestException, OSError, ValueError) as err:
            reason = "cannot be reached" if isinstance(err, requests.RequestException) else str(err)
            raise ConsulUnavailable(f"the Consul agent at {self.url}: {reason}") from err
        if response.status_code not in expected:
            message = " ".join(response.text.split())[:MAX_MESSAGE_CHARS] or "no message"
            raise ConsulUnavailable(
                f"the Consul agent at {self.url}: {method} /v1{path} answered {response.status_code}: {message}"
            )
        return response.content


def _check(instance: str, name: str, url: str, is_passing: bool) -> dict[str, Any]:
    check: dict[str, Any] = {
        "CheckID": f"service:{instance}:{name}",
        "name": name,
        "http": url,
        "interval": CHECK_INTERVAL,
        "timeout": CHECK_TIMEOUT,
        "status": "passing" if is_passing else "critical",
    }
    if url.startswith("https:"):
        # The URL contains an IP address, which certificates rarely name. The check carries no secret.
        check["TLSSkipVerify"] = True
    return check
