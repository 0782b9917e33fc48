"""Bringing a gateway to what is declared: read, compare, and write only what differs and is ours.

Source: Kong's Admin API as recorded from gateways 3.9.3, 2.8.5 and 0.14.1. PUT by name creates or replaces and resets
what it does not name; PATCH merges. So a PUT makes what is not there, also when many make it at once, and a PATCH
changes it.
"""

from collections.abc import Collection, Iterator
from typing import Protocol

from service.gateway.admin_api import AdminApi, Entity
from service.gateway.definition import Definition
from service.gateway.diff import Change
from service.gateway.registrator import RegistrationException
from service.gateway.version import GatewayVersion


class Reconciler(Protocol):
    """What registering takes, on one kind of gateway. Nothing is written where `dry_run`; what somebody else owns is
    an error, unless it is to be adopted.
    """

    def register(self, repairing: Collection[str] | None = None) -> Iterator[Change]:
        """Make what is missing and change what differs. repairing: the marks of our own declarations, if what another
        release has declared is to be left alone. Raises: RegistrationException.
        """
        ...

    def unregister(self) -> Iterator[Change]:
        """Remove all that is ours. Raises: RegistrationException."""
        ...

    def add_target(self, target: str) -> Iterator[Change]:
        """Have the upstream send requests to this `host:port`. Raises: RegistrationException."""
        ...

    def remove_target(self, target: str) -> None:
        """Have it send no more. Raises: RegistrationException."""
        ...

    def targets(self) -> Iterator[str]:
        """Where the upstream sends requests, and how healthy that is. Raises: RegistrationException."""
        ...


class Dialect:
    """What all dialects have in common: how paths are written, and that what is somebody else's stays theirs."""

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
        """A path as this gateway writes it. One that begins with ~ is a regular expression."""
        if not path.startswith("~") or self.version.marks_regular_expressions:
            return path
        if self.version.has_services:
            return path[1:]
        raise RegistrationException(f"{self.shown()} knows no regular expressions in paths, such as {path}")

    def shown(self) -> str:
        """The gateway, as messages name it."""
        return f"{self.api.shown_url} (Kong {self.version})"

    def refuse_foreign(self, what: str, ours: bool, owner: str) -> None:
        """Raises: RegistrationException for what is not ours, unless it is to be adopted."""
        if not ours and not self.adopt:
            raise RegistrationException(
                f"{self.shown()}: there is a {what} that is not ours ({owner}); rename this service with"
                " SERVICE_NAME, remove it there, or take it over: service.py register --adopt"
            )

    def write(self, method: str, path: str, entity: Entity) -> Entity:
        """Make or change an entity. Raises: RegistrationException, also for what is gone or in the way."""
        status, found = self.api.write(method, path, entity)
        if status not in (200, 201) or found is None:
            said = (found or {}).get("message", "no message")
            raise RegistrationException(f"{method} {self.api.shown_url}{path} answered {status}: {said}")
        return found
