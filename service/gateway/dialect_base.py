"""Brings a gateway to a declaration: reads, compares, and writes only what differs.

Source: Kong's Admin API as recorded from gateways 3.9.3, 2.8.5 and 0.14.1. PUT by name creates or replaces an entity
and resets the fields that it omits; PATCH merges. So a PUT creates a missing entity, even if several instances do so
concurrently, and a PATCH changes an existing one.
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from service.gateway.admin_api import AdminApi, Entity
from service.gateway.competing_routes import Competitor
from service.gateway.definition import Definition
from service.gateway.plan import Step
from service.gateway.registrator import RegistrationException
from service.gateway.targets import Target
from service.gateway.version import GatewayVersion


class Reconciler(Protocol):
    """Operations of registration, as one family of gateway versions implements them.

    All methods raise RegistrationException if a request fails. Methods that return steps only read.
    """

    def plan(self, *, lenient: bool = False) -> Sequence[Step]:
        """Return the steps that create missing entities and change those that differ.

        Args:
            lenient: Compare only the declared fields of plugins that no registration has written, such as those of a
                gateway without a database, and do not let the gateway check configurations.

        Raises:
            RegistrationException: If an entity belongs to another owner, if the gateway lacks a declared feature, or if
                it would refuse the configuration of a plugin.
        """
        ...

    def plan_removal(self) -> Sequence[Step]:
        """Return the steps that remove all entities that the service owns.

        Raises:
            RegistrationException: If the service or its route belongs to another owner.
        """
        ...

    def service(self) -> Entity:
        """Return the gateway's service entity; before Kong 1.0, the API entity. Empty if it does not exist."""
        ...

    def declaration(self) -> str | None:
        """Return the tag of the declaration that stands on the gateway; None if it has none."""
        ...

    def is_missing(self) -> bool:
        """Return whether the gateway lacks the service or its route, or has the service turned off."""
        ...

    def kept(self) -> Sequence[str]:
        """Return what operators have set in fields that are theirs, such as `service loaner: retries 0`."""
        ...

    def competitors(self) -> Sequence[Competitor]:
        """Return routes of other services that match calls for this one."""
        ...

    def targets(self) -> Sequence[Target]:
        """Return the targets of the upstream."""
        ...

    def add_target(self, address: str, instance: str) -> bool:
        """Make an address, `host:port`, a target of an instance. Returns whether anything was written."""
        ...

    def remove_target(self, target: Target) -> None:
        """Remove a target from the upstream."""
        ...


class Dialect:
    """Base of all dialects: the notation of paths, and the protection of other owners' entities.

    Args:
        api: The gateway's Admin API.
        version: The gateway's version.
        definition: The declaration.
        adopt: Take over entities of other owners instead of failing.
    """

    def __init__(self, api: AdminApi, version: GatewayVersion, definition: Definition, adopt: bool) -> None:
        self.api = api
        # One operation sees one state, and reads each entity once.
        self.read = cache(api.get)
        self.version = version
        self.definition = definition
        self.adopt = adopt
        self.tags = {"tags": definition.tags} if version.has_tags else {}
        self.paths = [self._path(path) for path in definition.paths]

    def _path(self, path: str) -> str:
        """Return a path in the gateway's notation. A path that begins with `~` is a regular expression."""
        if not path.startswith("~") or self.version.has_regex_prefix:
            return path
        if self.version.has_services:
            return path[1:]
        raise RegistrationException(f"{self.describe_gateway()} does not support regular expressions in paths: {path}")

    def describe_gateway(self) -> str:
        """Return the gateway's address and version, for messages."""
        return f"{self.api.redacted_url} (Kong {self.version})"

    def reject_foreign(self, what: str, is_own: bool, owner: str) -> None:
        """Raise an error for an entity of another owner, unless it is to be adopted.

        Args:
            what: Kind and name of the entity.
            is_own: Whether the service owns it.
            owner: What is known of its owner.

        Raises:
            RegistrationException: If it belongs to another owner.
        """
        if not is_own and not self.adopt:
            raise RegistrationException(
                f"{self.describe_gateway()}: {what} belongs to another owner ({owner}); choose another SERVICE_NAME,"
                " remove the entity from the gateway, or take it over: service.py register --adopt"
            )

    def has_own_tag(self, entity: Entity) -> bool:
        """Return whether an entity has the tag of this service."""
        tags = entity.get("tags")
        return isinstance(tags, list) and self.definition.tags[0] in tags

    def describe_owner(self, entity: Entity) -> str:
        """Return what is known of the owner of an entity."""
        tags = entity.get("tags")
        details = [f"tags: {', '.join(map(str, tags)) if isinstance(tags, list) and tags else 'none'}"]
        if entity.get("host"):
            details.append(f"host: {entity['host']}")
        if isinstance(entity.get("service"), dict):
            details.append(f"service: {entity['service'].get('id')}")
        return ", ".join(details)

    def write(self, method: str, path: str, entity: Entity) -> Entity:
        """Create or change an entity, and return it.

        Raises:
            RegistrationException: If the request fails, if the entity does not exist, or on a conflict.
        """
        status, found = self.api.write(method, path, entity)
        if status not in (200, 201) or found is None:
            message = (found or {}).get("message", "no message")
            raise RegistrationException(f"{method} {self.api.redacted_url}{path} answered {status}: {message}", status)
        return found
