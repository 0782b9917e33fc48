"""Registration with a Kong gateway, of any version: 3, 2, 1, and 0.14, which Microkubes ships."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from service.gateway.admin_api import Access, AdminApi
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

_DONE = {"create": "created", "change": "changed", "remove": "removed"}


class KongGatewayRegistrator(Registrator):
    """Registers a service and one route of the same name.

    patience_s: seconds to keep trying while the gateway is starting or out of reach. access: how the Admin API lets
    us in.
    """

    def __init__(
        self,
        gw_admin_url: str = "http://localhost:8001",
        timeout_s: float = TIMEOUT_S,
        access: Access | None = None,
    ) -> None:
        super().__init__(gw_admin_url)
        self._patience_s = timeout_s
        self._access = access
        self.shown_url = without_password(self.gw_admin_url)

    def register_service(self, service: dict[str, Any]) -> None:
        """Create or update the service, then its route; never one that somebody else owns.

        Raises: RegistrationException.
        """
        self.declare(Definition(service["name"], tuple(service["paths"]), service["host"], service["port"]))

    def declare(self, definition: Definition) -> None:
        """Bring the gateway to what is declared, and log it. Raises: RegistrationException."""
        changes = self.reconcile(definition)
        log.info("registered %s with the gateway at %s (%s)", definition.name, self.shown_url, _summary(changes))

    def reconcile(
        self,
        definition: Definition,
        *,
        dry_run: bool = False,
        adopt: bool = False,
        repairing: Collection[str] | None = None,
    ) -> list[Change]:
        """Bring the gateway to what is declared, and say what changed; nothing is written where nothing differs.

        dry_run: only say what would. adopt: take over what somebody else owns. repairing: the marks of declarations
        that are ours; what another release of this service has declared is left alone then.

        Raises: RegistrationException.
        """
        return self._with(definition, lambda gateway: list(gateway.register(repairing)), dry_run, adopt)

    def unregister(self, definition: Definition, *, dry_run: bool = False) -> list[Change]:
        """Remove all that is ours. Raises: RegistrationException."""
        return self._with(definition, lambda gateway: list(gateway.unregister()), dry_run)

    def add_target(self, definition: Definition, target: str) -> list[Change]:
        """Have the upstream send requests to `host:port`. Raises: RegistrationException."""
        return self._with(definition, lambda gateway: list(gateway.add_target(target)))

    def remove_target(self, definition: Definition, target: str) -> None:
        """Have the upstream send no more requests there. Raises: RegistrationException."""
        self._with(definition, lambda gateway: gateway.remove_target(target))

    def targets(self, definition: Definition) -> list[str]:
        """The targets of the upstream, and how the gateway finds them. Raises: RegistrationException."""
        return self._with(definition, lambda gateway: list(gateway.targets()))

    def version(self) -> str:
        """The gateway's version. Raises: RegistrationException."""
        with AdminApi(self.gw_admin_url, self._patience_s, self._access) as api:
            return str(parse_gateway_version(api.node(), self.shown_url))

    def with_timeout(self, seconds: float) -> "KongGatewayRegistrator":
        """The same, with another patience."""
        return KongGatewayRegistrator(self.gw_admin_url, seconds, self._access)

    def _with(
        self, definition: Definition, act: Callable[[Reconciler], T], dry_run: bool = False, adopt: bool = False
    ) -> T:
        with AdminApi(self.gw_admin_url, self._patience_s, self._access) as api:
            version = parse_gateway_version(api.node(), self.shown_url)
            dialect = KongDialect if version.has_services else LegacyDialect
            return act(dialect(api, version, definition, dry_run, adopt))


def _summary(changes: Sequence[Change]) -> str:
    """Changes in a few words, for a log line."""
    return ", ".join(f"{change.what} {_DONE[change.action]}" for change in changes) or "nothing changed"
