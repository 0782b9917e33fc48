"""Brings a gateway to a declaration: reads, compares, and writes only what differs.

Source: Kong's Admin API as recorded from gateways 3.9.3, 2.8.5 and 0.14.1. PUT by name creates or replaces an entity
and resets the fields that it omits; PATCH merges. So a PUT creates a missing entity, even if several instances do so
concurrently, and a PATCH changes an existing one.
"""

from collections.abc import Collection, Iterator
from typing import Protocol

from service.gateway.admin_api import AdminApi, Entity
from service.gateway.definition import Definition
from service.gateway.diff import Change
from service.gateway.registrator import RegistrationException
from service.gateway.version import GatewayVersion
from service.invocation import command_line


class Reconciler(Protocol):
    """Operations of registration, as one family of gateway versions implements them.

    Iterators act while they are consumed. All methods raise RegistrationException if a request fails.
    """

    def register(self, own_declarations: Collection[str] | None = None) -> Iterator[Change]:
        """Create missing entities and change those that differ.

        Args:
            own_declarations: Declaration tags of this release. If given, a gateway that has the declaration of another
                release is left unchanged.

        Raises:
            RegistrationException: If an entity belongs to another owner, or if the gateway lacks a declared feature.
        """
        ...

    def service(self) -> Entity:
        """Return the entity of the service, empty if it does not exist."""
        ...

    def unregister(self) -> Iterator[Change]:
        """Remove all entities that the service owns.

        Raises:
            RegistrationException: If the service or its route belongs to another owner.
        """
        ...

    def add_target(self, target: str) -> Iterator[Change]:
        """Add a target, `host:port`, to the upstream."""
        ...

    def remove_target(self, target: str) -> None:
        """Remove a target, `host:port`, from the upstream."""
        ...

    def targets(self) -> Iterator[str]:
        """Yield the targets of the upstream, each with its health."""
        ...


class Dialect:
    """Base of all dialects: the notation of paths, and the protection of other owners' entities.

    Args:
        api: The gateway's Admin API.
        version: The gateway's version.
        definition: The declaration.
        dry_run: Yield changes without making them.
        adopt: Take over entities of other owners instead of failing.
    """

    def __init__(
        self, api: AdminApi, version: GatewayVersion, definition: Definition, dry_run: bool, adopt: bool
    ) -> None:
        self.api = api
        self.version = version
        self.definition = definition
        self.dry_run = dry_run
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
                f" remove the entity from the gateway, or take it over: {command_line('register --adopt')}"
            )

    def write(self, method: str, path: str, entity: Entity) -> Entity:
        """Create or change an entity, and return it.

        Raises:
            RegistrationException: If the request fails, if the entity does not exist, or on a conflict.
        """
        status, found = self.api.write(method, path, entity)
        if status not in (200, 201) or found is None:
            message = (found or {}).get("message", "no message")
            raise RegistrationException(f"{method} {self.api.redacted_url}{path} answered {status}: {message}")
        return found
