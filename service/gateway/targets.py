"""The targets of an upstream, one for each instance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.gateway.admin_api import AdminApi
from service.gateway.definition import DECLARATION_TAG_PREFIX, INSTANCE_TAG_PREFIX, Definition
from service.gateway.diff import diff
from service.gateway.registrator import RegistrationException
from service.gateway.version import GatewayVersion

HEALTHY = "HEALTHY"
UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True)
class Target:
    """A target of the upstream.

    Attributes:
        address: Its address, `host:port`.
        weight: Its weight. 0, set by hand, keeps calls away.
        health: What the gateway's checks have found.
        is_own: Whether an instance of this service has added it.
        instance: The id of that instance; None for other targets, and for instances of a release without ids.
        declaration: The tag of that instance's declaration, if known.
    """

    address: str
    weight: int
    health: str
    is_own: bool
    instance: str | None
    declaration: str | None

    def __str__(self) -> str:
        owner = f"instance {self.instance}" if self.instance else "" if self.is_own else "added by hand"
        weight = "weight 0, kept: it gets no calls" if self.weight == 0 else ""
        return ", ".join(filter(None, (f"{self.address} {self.health}", owner, weight)))


class Targets:
    """Reads and writes the targets of a declaration's upstream.

    Args:
        api: The gateway's Admin API.
        version: The gateway's version.
        definition: The declaration, which has an upstream.
    """

    def __init__(self, api: AdminApi, version: GatewayVersion, definition: Definition) -> None:
        self._api = api
        self._version = version
        self._definition = definition
        self._path = f"/upstreams/{definition.upstream}"

    def read(self) -> list[Target]:
        """Return the targets, with their health."""
        return [self._parse(found) for found in self._api.list(f"{self._path}/health")]

    def add(self, address: str, instance: str) -> bool:
        """Make an address the target of an instance. Returns whether anything was written.

        The weight of an existing target is kept, because operators may set it.
        """
        definition = self._definition
        tags = [*definition.tags, f"{INSTANCE_TAG_PREFIX}{instance}", definition.declaration_tag]
        declared: dict[str, Any] = {"tags": tags} if self._version.has_tags else {}
        found = self._find(address)
        if found is None:
            if self._write("POST", "/targets", {"target": address, "weight": 100, **declared}) != 409:
                return True
            found = self._find(address) or {}  # added by an instance that was faster
        changes = {name: after for name, (_, after) in diff(found, declared).items()}
        if changes and not self._patch(address, changes):
            # Versions that cannot change a target update one that is posted again.
            self._write("POST", "/targets", {"target": address, "weight": found.get("weight", 100), **changes})
        return bool(changes)

    def remove(self, target: Target) -> None:
        """Remove a target."""
        self._api.write("DELETE", f"{self._path}/targets/{target.address}")

    def _find(self, address: str) -> dict[str, Any] | None:
        return next(
            (found for found in self._api.list(f"{self._path}/targets") if found.get("target") == address), None
        )

    def _patch(self, address: str, changes: dict[str, Any]) -> bool:
        try:
            return self._api.write("PATCH", f"{self._path}/targets/{address}", changes)[0] == 200
        except RegistrationException as err:
            if err.status == 405:
                return False
            raise

    def _write(self, method: str, path: str, entity: dict[str, Any]) -> int:
        status, found = self._api.write(method, self._path + path, entity)
        if status not in (200, 201, 409):
            where = f"{self._api.redacted_url}{self._path}{path}"
            raise RegistrationException(f"{method} {where} answered {status}: {found}", status)
        return status

    def _parse(self, found: Mapping[str, Any]) -> Target:
        tags = [str(tag) for tag in found.get("tags") or ()]
        weight = found.get("weight")
        return Target(
            str(found.get("target")),
            weight if isinstance(weight, int) else 100,
            str(found.get("health", "unknown health")),
            self._definition.tags[0] in tags,
            next((tag.removeprefix(INSTANCE_TAG_PREFIX) for tag in tags if tag.startswith(INSTANCE_TAG_PREFIX)), None),
            next((tag for tag in tags if tag.startswith(DECLARATION_TAG_PREFIX)), None),
        )
