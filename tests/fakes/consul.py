"""A Consul agent that checks its instances over HTTP and resolves the healthy ones.

It follows https://developer.hashicorp.com/consul/api-docs/agent/check for what the service uses: an instance is healthy
while all of its checks pass, and it is deregistered once a check with DeregisterCriticalServiceAfter fails for so long.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.fakes.http_server import serving


@dataclass
class _Check:
    definition: dict[str, Any]
    is_passing: bool
    next_at: float = 0.0
    failing_since: float = field(default_factory=time.monotonic)


class FakeConsul:
    """Keeps registrations, and checks them from a thread.

    Args:
        deregister_after_s: What replaces the declared time, which is a minute at least.
    """

    def __init__(self, deregister_after_s: float = 60.0) -> None:
        self.url = ""
        self.services: dict[str, dict[str, Any]] = {}
        self.registrations: list[dict[str, Any]] = []
        self._deregister_after_s = deregister_after_s
        self._checks: dict[str, list[_Check]] = {}

    def resolve(self, name: str) -> list[tuple[str, int]]:
        """Return what DNS returns: the addresses and ports of the healthy instances."""
        return [
            (service["address"], service["port"])
            for instance, service in list(self.services.items())
            if service["name"] == name and all(check.is_passing for check in self._checks.get(instance, ()))
        ]

    def register(self, service: dict[str, Any]) -> None:
        """Add an instance, or replace it."""
        self.registrations.append(service)
        self._checks[service["id"]] = [_Check(each, each.get("status") == "passing") for each in service["checks"]]
        self.services[service["id"]] = service

    def answer(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, bytes]:
        """Return status and content of the reply to a request."""
        if (method, path.partition("?")) == ("GET", ("/v1/health/service/loaner", "?", "passing=true")):
            healthy = self.resolve("loaner")
            entries = [
                {"Service": {"ID": instance, "Service": service["name"]}}
                for instance, service in self.services.items()
                if (service["address"], service["port"]) in healthy
            ]
            return 200, json.dumps(entries).encode()
        action = path.partition("?")[0].removeprefix("/v1/agent/service")
        if (method, action) == ("PUT", "/register"):
            self.register(json.loads(body))
            return 200, b""
        if method == "PUT" and action.startswith("/deregister/"):
            return (200, b"") if self.services.pop(action.removeprefix("/deregister/"), None) else (404, b"unknown")
        return 200, json.dumps(self.services).encode()

    def check_due(self) -> None:
        """Run the checks that are due."""
        for instance in list(self.services):
            for check in self._checks[instance]:
                if time.monotonic() >= check.next_at:
                    self._run(instance, check)

    def _run(self, instance: str, check: _Check) -> None:
        declared = check.definition
        try:
            with requests.get(declared["http"], timeout=_seconds(declared["timeout"]), verify=False) as reply:
                passes = reply.ok
        except requests.RequestException:
            passes = False
        now = time.monotonic()
        if passes or check.is_passing:
            check.failing_since = now
        check.is_passing, check.next_at = passes, now + _seconds(declared["interval"])
        if "DeregisterCriticalServiceAfter" in declared and now - check.failing_since > self._deregister_after_s:
            self.services.pop(instance, None)


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


@contextmanager
def running(consul: FakeConsul) -> Iterator[FakeConsul]:
    """Serve a fake agent."""
    stop = threading.Event()

    def check() -> None:
        while not stop.wait(0.05):
            consul.check_due()

    thread = threading.Thread(target=check)
    with serving(consul.answer) as consul.url:
        thread.start()
        try:
            yield consul
        finally:
            stop.set()
            thread.join()
