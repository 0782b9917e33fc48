"""Removes targets of instances that are gone, so that a service that gets one of their addresses gets no calls.

Kong keeps the target of a killed instance, and sends it calls as soon as its checks succeed again, whoever answers.

In a network split, instances may remove targets that live, but only while the gateway reaches the instance that
removes. A removed instance that lives adds itself again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal

import requests

from service.gateway.definition import Definition
from service.gateway.identity import Identity
from service.gateway.identity_probe import probe
from service.gateway.kong import KongGatewayRegistrator
from service.gateway.registrator import RegistrationException
from service.gateway.targets import HEALTHY, UNHEALTHY, Target

log = logging.getLogger(__name__)


class TargetWatch:
    """Watches the other targets of the upstream on behalf of an instance.

    Args:
        registrator: Removes targets.
        identity: Recognizes instances of this service.
        own_address: The address of this instance, `host:port`.
        bound_s: Seconds for which a target must be unhealthy before it is removed.
        now: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        registrator: KongGatewayRegistrator,
        identity: Identity,
        own_address: str,
        bound_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registrator = registrator
        self._identity = identity
        self._own_address = own_address
        self._bound_s = bound_s
        self._now = now
        self._unhealthy_since: dict[tuple[str, str | None], float] = {}

    def check(self, definition: Definition, targets: Sequence[Target]) -> None:
        """Remove targets of instances that are gone.

        Raises:
            RegistrationException: If the gateway does not reach this instance, or if a request fails.
        """
        own = next((target for target in targets if target.address == self._own_address), None)
        others = [target for target in targets if target.is_own and target is not own]
        keys = {(target.address, target.instance) for target in others}
        self._unhealthy_since = {key: since for key, since in self._unhealthy_since.items() if key in keys}
        for target in others:
            reason = self._reason_to_remove(
                definition, target, is_gateway_near=own is not None and own.health == HEALTHY
            )
            if reason is not None:
                self._registrator.remove_target(definition, target)
                log.warning("removed the target %s from the upstream: %s", target, reason)
        if own is not None and own.health == UNHEALTHY:
            raise RegistrationException(f"the gateway's checks of this instance, {own.address}, fail")

    def _reason_to_remove(self, definition: Definition, target: Target, *, is_gateway_near: bool) -> str | None:
        resident = self._find_resident(definition, target)
        key = (target.address, target.instance)
        if resident == "stranger":
            return "another service answers at its address"
        if resident == "instance" or target.health in (HEALTHY, "HEALTHCHECKS_OFF"):
            self._unhealthy_since.pop(key, None)
            return None
        if target.health != UNHEALTHY:
            return None
        since = self._unhealthy_since.setdefault(key, self._now())
        if is_gateway_near and self._now() - since >= self._bound_s:
            return f"it has been unhealthy for {self._now() - since:.0f} s"
        return None

    def _find_resident(self, definition: Definition, target: Target) -> Literal["instance", "stranger", "unknown"]:
        """Find out who answers at a target's address.

        Only an instance with an id can be expected to prove its identity: earlier releases have no ids.
        """
        if target.instance is None or not self._identity.has_secrets():
            return "unknown"
        try:
            # A certificate rarely names an IP address. The proof does not depend on it.
            answer = probe(f"{definition.protocol}://{target.address}", self._identity, verify=False)
        except (requests.RequestException, OSError):
            return "unknown"
        return "stranger" if answer.instance is None else "instance"
