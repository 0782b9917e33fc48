"""Registration with Kong gateways of all versions from 0.14, which Microkubes ships, to 3."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from service.gateway.admin_api import Access, AdminApi, Entity
from service.gateway.definition import Definition
from service.gateway.dialect import KongDialect
from service.gateway.dialect_base import Reconciler
from service.gateway.diff import Change
from service.gateway.legacy_dialect import LegacyDialect
from service.gateway.registrator import Registrator
from service.gateway.version import parse_gateway_version
from service.net.urls import without_password

log = logging.getLogger(__name__)

TIMEOUT_S = 60  # longer than a gateway and its database take to start

T = TypeVar("T")

_PAST_TENSE = {"create": "created", "change": "changed", "remove": "removed"}


class KongGatewayRegistrator(Registrator):
    """Registers a service, and one route of the same name, with a Kong gateway.

    All methods raise RegistrationException if the gateway is unavailable or rejects a request.

    Args:
        gw_admin_url: URL of Kong's Admin API.
        timeout_s: Seconds to retry while the gateway is unavailable, for each call of a method.
        access: Credentials and trust for the Admin API.
    """

    def __init__(
        self,
        gw_admin_url: str = "http://localhost:8001",
        timeout_s: float = TIMEOUT_S,
        access: Access | None = None,
    ) -> None:
        super().__init__(gw_admin_url)
        self._timeout_s = timeout_s
        self._access = access
        self.redacted_url = without_password(self.gw_admin_url)

    def register_service(self, service: dict[str, Any]) -> Entity:
        """Create or update a service and its route.

        Args:
            service: `name`, `paths`, `host` and `port`.

        Returns:
            The gateway's service entity; before Kong 1.0, the API entity.

        Raises:
            RegistrationException: If one of them belongs to another owner, or if a request fails.
        """
        definition = Definition(service["name"], tuple(service["paths"]), service["host"], service["port"])
        self.declare(definition)
        return self._run(definition, lambda dialect: dialect.service())

    def declare(self, definition: Definition) -> None:
        """Bring the gateway to a declaration, and log the changes.

        Raises:
            RegistrationException: If an entity belongs to another owner, or if a request fails.
        """
        changes = self.reconcile(definition)
        log.info("registered %s with the gateway at %s (%s)", definition.name, self.redacted_url, _summary(changes))

    def reconcile(
        self,
        definition: Definition,
        *,
        dry_run: bool = False,
        adopt: bool = False,
        own_declarations: Collection[str] | None = None,
    ) -> list[Change]:
        """Bring the gateway to a declaration, writing only what differs.

        Args:
            definition: The declaration.
            dry_run: Return the changes without making them.
            adopt: Take over entities of other owners instead of failing.
            own_declarations: Declaration tags of this release. If given, a gateway that has the declaration of another
                release is left unchanged.

        Returns:
            The changes.

        Raises:
            RegistrationException: If an entity belongs to another owner, or if a request fails.
        """
        return self._run(definition, lambda dialect: list(dialect.register(own_declarations)), dry_run, adopt)

    def unregister(self, definition: Definition, *, dry_run: bool = False) -> list[Change]:
        """Remove all entities that the service owns.

        Args:
            definition: The declaration.
            dry_run: Return the changes without making them.

        Returns:
            The changes.

        Raises:
            RegistrationException: If the service or its route belongs to another owner, or if a request fails.
        """
        return self._run(definition, lambda dialect: list(dialect.unregister()), dry_run)

    def add_target(self, definition: Definition, target: str) -> list[Change]:
        """Add a target, `host:port`, to the upstream. Returns nothing if it already has it."""
        return self._run(definition, lambda dialect: list(dialect.add_target(target)))

    def remove_target(self, definition: Definition, target: str) -> None:
        """Remove a target, `host:port`, from the upstream."""
        self._run(definition, lambda dialect: dialect.remove_target(target))

    def targets(self, definition: Definition) -> list[str]:
        """Return the targets of the upstream, each with its health."""
        return self._run(definition, lambda dialect: list(dialect.targets()))

    def version(self) -> str:
        """Return the gateway's version."""
        with AdminApi(self.gw_admin_url, self._timeout_s, self._access) as api:
            return str(parse_gateway_version(api.node(), self.redacted_url))

    def with_timeout(self, seconds: float) -> "KongGatewayRegistrator":
        """Return a copy with another timeout."""
        return KongGatewayRegistrator(self.gw_admin_url, seconds, self._access)

    def _run(
        self, definition: Definition, action: Callable[[Reconciler], T], dry_run: bool = False, adopt: bool = False
    ) -> T:
        with AdminApi(self.gw_admin_url, self._timeout_s, self._access) as api:
            version = parse_gateway_version(api.node(), self.redacted_url)
            dialect = KongDialect if version.has_services else LegacyDialect
            return action(dialect(api, version, definition, dry_run, adopt))


def _summary(changes: Sequence[Change]) -> str:
    return ", ".join(f"{change.what} {_PAST_TENSE[change.action]}" for change in changes) or "nothing changed"
