"""Keeps the declaration on the gateway, and leaves that of another release alone while that release lives."""

import logging
import time
from collections.abc import Callable

from service.gateway.definition import Definition
from service.gateway.kong import GatewayState, KongGatewayRegistrator
from service.gateway.registrator import RegistrationException
from service.gateway.targets import UNHEALTHY

log = logging.getLogger(__name__)

COMPETITORS_INTERVAL_S = 300  # a gateway may have thousands of routes


class Repair:
    """Compares the gateway with the declaration, and repairs it.

    Two releases that undid each other's declaration would never stop, so the one that was declared last stands. A
    release is gone if no healthy target carries its mark or, without targets, if nobody restores what is missing. Its
    declaration is then replaced after a while.

    Args:
        registrator: Compares and repairs.
        definition: The declaration that stands since the start.
        bound_s: Seconds for which another release must be gone.
        on_missing: Called when the service or its route is missing, before it is repaired.
        now: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        registrator: KongGatewayRegistrator,
        definition: Definition,
        bound_s: float,
        on_missing: Callable[[], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registrator = registrator
        self._standing = definition
        self._own = {definition.declaration_tag}
        self._bound_s = bound_s
        self._on_missing = on_missing
        self._now = now
        self._gone_since: float | None = None
        self._competitors_read_at: float | None = None
        self._competition: str | None = None

    def __call__(self, definition: Definition) -> GatewayState:
        """Compare and repair. Returns what was found.

        If the gateway refuses a declaration that has changed, the previous one is kept up.

        Raises:
            RegistrationException: If the declaration does not stand.
        """
        try:
            return self._keep(definition)
        except RegistrationException as err:
            if err.status == 400 and definition != self._standing:
                self._keep(self._standing)
            raise

    def check_competitors(self, definition: Definition) -> None:
        """Read the other routes of the gateway every COMPETITORS_INTERVAL_S.

        Raises:
            RegistrationException: If one takes calls for this service.
        """
        if self._competitors_read_at is None or self._now() - self._competitors_read_at >= COMPETITORS_INTERVAL_S:
            found = self._registrator.competitors(definition)
            self._competitors_read_at = self._now()
            self._competition = "; ".join(str(competitor) for competitor in found if competitor.takes_calls) or None
        if self._competition is not None:
            raise RegistrationException(f"{self._registrator.redacted_url}: {self._competition}")

    def _keep(self, definition: Definition) -> GatewayState:
        state = self._registrator.inspect(definition)
        if state.is_missing:
            self._on_missing()
        if state.declaration in (None, definition.declaration_tag, *self._own):
            self._gone_since = None
        elif self._is_alive(state):
            self._gone_since = None
            self._report_other_release(state)
            return state
        else:
            self._gone_since = self._gone_since or self._now()
            if self._now() - self._gone_since < self._bound_s:
                self._report_other_release(state)
                return state
            log.warning("the release that has declared the service on the gateway is gone; declaring this one")
        if state.changes:
            for change in self._registrator.reconcile(definition):
                log.warning("repaired a difference on the gateway: %s", " ".join(str(change).split()))
        self._standing = definition
        self._own.add(definition.declaration_tag)
        return state

    def _is_alive(self, state: GatewayState) -> bool:
        if self._standing.upstream is None:
            return not state.is_missing
        return any(
            target.declaration == state.declaration and target.health != UNHEALTHY and target.weight > 0
            for target in state.targets
        )

    def _report_other_release(self, state: GatewayState) -> None:
        differing = [change.what for change in state.changes if not change.what.startswith("declaration of ")]
        if differing:
            raise RegistrationException(
                f"{self._registrator.redacted_url}: another release has declared the service; {', '.join(differing)}"
                f" {'differs' if len(differing) == 1 else 'differ'} from this one's declaration"
            )
