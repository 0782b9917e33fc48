"""Registration with Kong gateways of all versions from 0.14, which Microkubes ships, to 3."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from service.gateway.admin_api import Access, AdminApi, Entity
from service.gateway.competing_routes import Competitor
from service.gateway.definition import Definition
from service.gateway.dialect import KongDialect
from service.gateway.dialect_base import Reconciler
from service.gateway.diff import Change
from service.gateway.legacy_dialect import LegacyDialect
from service.gateway.plan import carry_out, changes_of
from service.gateway.registrator import Registrator
from service.gateway.targets import Target
from service.gateway.version import is_db_less, parse_gateway_version, reject_db_less
from service.net.urls import without_password

log = logging.getLogger(__name__)

TIMEOUT_S = 60  # longer than a gateway and its database take to start

T = TypeVar("T")

_PAST_TENSE = {"create": "created", "change": "changed", "remove": "removed"}


@dataclass(frozen=True)
class GatewayState:
    """What a gateway has of a service, as one reading found it.

    Attributes:
        changes: The changes that would bring it to the declaration.
        declaration: The tag of the declaration that stands, which may be another release's; None if it has none.
        is_missing: Whether the service or its route is missing, or the service is turned off.
        kept: What operators have set in fields that are theirs.
        targets: The targets of the upstream.
    """

    changes: Sequence[Change]
    declaration: str | None
    is_missing: bool
    kept: Sequence[str]
    targets: Sequence[Target]


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
        for competitor in self.competitors(definition):
            log.warning("%s: %s", self.redacted_url, competitor)
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

        Everything is read and checked before the first write. If a write fails, what was written is undone.

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

        def bring(dialect: Reconciler) -> list[Change]:
            steps = dialect.plan()
            if own_declarations is not None and dialect.declaration() not in (None, *own_declarations):
                return []
            if not dry_run:
                carry_out(steps)
            return changes_of(steps)

        return self._run(definition, bring, adopt)

    def inspect(self, definition: Definition, *, lenient: bool = False) -> GatewayState:
        """Return what the gateway has of the service. Writes nothing, so the gateway needs no database.

        Args:
            definition: The declaration.
            lenient: Compare only the declared fields of plugins that no registration has written.

        Raises:
            RegistrationException: If an entity belongs to another owner, or if a request fails.
        """
        return self._run(
            definition,
            lambda dialect: GatewayState(
                changes_of(dialect.plan(lenient=lenient)),
                dialect.declaration(),
                dialect.is_missing(),
                dialect.kept(),
                dialect.targets(),
            ),
            reads=True,
        )

    def competitors(self, definition: Definition) -> Sequence[Competitor]:
        """Return routes of other services that match calls for this one."""
        return self._run(definition, lambda dialect: dialect.competitors(), reads=True)

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

        def remove(dialect: Reconciler) -> list[Change]:
            steps = dialect.plan_removal()
            if not dry_run:
                carry_out(steps)
            return changes_of(steps)

        return self._run(definition, remove)

    def add_target(self, definition: Definition, address: str, instance: str) -> bool:
        """Make an address, `host:port`, a target of an instance. Returns whether anything was written."""
        return self._run(definition, lambda dialect: dialect.add_target(address, instance))

    def remove_target(self, definition: Definition, target: Target) -> None:
        """Remove a target from the upstream."""
        self._run(definition, lambda dialect: dialect.remove_target(target))

    def targets(self, definition: Definition) -> Sequence[Target]:
        """Return the targets of the upstream."""
        return self._run(definition, lambda dialect: dialect.targets(), reads=True)

    def version(self) -> str:
        """Return the gateway's version, and whether it has no database."""
        with AdminApi(self.gw_admin_url, self._timeout_s, self._access) as api:
            node = api.node()
            version = parse_gateway_version(node, self.redacted_url)
            return f"{version} without a database" if is_db_less(node) else str(version)

    def with_timeout(self, seconds: float) -> "KongGatewayRegistrator":
        """Return a copy with another timeout."""
        return KongGatewayRegistrator(self.gw_admin_url, seconds, self._access)

    def _run(
        self, definition: Definition, action: Callable[[Reconciler], T], adopt: bool = False, reads: bool = False
    ) -> T:
        """Run an action with the dialect of the gateway.

        Args:
            definition: The declaration.
            action: The action.
            adopt: Whether the dialect takes over entities of other owners.
            reads: Whether the action only reads, which a gateway without a database allows.
        """
        with AdminApi(self.gw_admin_url, self._timeout_s, self._access) as api:
            node = api.node()
            version = parse_gateway_version(node, self.redacted_url)
            if not reads:
                reject_db_less(node, self.redacted_url)
            dialect = KongDialect if version.has_services else LegacyDialect
            return action(dialect(api, version, definition, adopt))


def _summary(changes: Sequence[Change]) -> str:
    return ", ".join(f"{change.what} {_PAST_TENSE[change.action]}" for change in changes) or "nothing changed"
