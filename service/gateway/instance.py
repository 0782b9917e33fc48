"""The membership of a running instance: it joins when ready, repairs its registration, and deregisters on shutdown."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from service.errors import LoanerError
from service.gateway.consul import ConsulAgent, ConsulUnavailable
from service.gateway.definition import Definition
from service.gateway.identity import Identity
from service.gateway.kong import GatewayState, KongGatewayRegistrator
from service.gateway.registrator import RegistrationException
from service.gateway.repair import Repair
from service.gateway.routed import NotRouted
from service.gateway.target_watch import TargetWatch
from service.net.urls import with_port

log = logging.getLogger(__name__)

READY_INTERVAL_S = 0.2
TIMEOUT_S = 5.0
ROUTE_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Timing:
    """How often an instance compares, and how long it waits.

    Attributes:
        interval_s: Seconds between comparisons with the gateway.
        gone_s: Seconds after which an unhealthy target, or another release, counts as gone.
        route_s: Seconds after which a route that still leads elsewhere is a failure.
    """

    interval_s: float
    gone_s: float = 120.0
    route_s: float = 60.0  # longer than a gateway takes to apply a new route


class Instance:
    """Keeps a running instance registered with the gateway and, optionally, with Consul.

    Args:
        registrator: Registers with the gateway.
        declare: Returns the current declaration; called before each comparison.
        host: Address at which this instance is reached.
        port: Port at which this instance is reached.
        ready: Returns whether this instance can answer requests.
        timing: How often to compare.
        identity: Proves that this instance is one of the service, and recognizes others.
        consul: The agent to register with, if this instance does so itself.
        on_state: Called after each comparison with whether calls arrive as declared.
        check_route: Raises RegistrationException unless calls through the gateway arrive at this service; called once
            this instance has joined, and after each comparison.
    """

    def __init__(
        self,
        registrator: KongGatewayRegistrator,
        declare: Callable[[], Definition],
        host: str,
        port: int,
        ready: Callable[[], bool],
        timing: Timing,
        identity: Identity,
        consul: ConsulAgent | None = None,
        on_state: Callable[[bool], object] = lambda _: None,
        check_route: Callable[[], str] | None = None,
    ) -> None:
        self._registrator = registrator.with_timeout(TIMEOUT_S)
        self._declare = declare
        self._definition = declare()
        self._host = host
        self._port = port
        # Kong stores IPv6 addresses in full, and compares them as text.
        self._target = with_port(IPv6Address(host).exploded if ":" in host else host, port)
        self._name = f"{self._definition.name}-{host}-{port}"
        self._ready = ready
        self._timing = timing
        self._identity = identity
        self._consul = consul
        self._is_in_consul = False
        self._on_state = on_state
        self._check_route = check_route
        self._is_routed = False
        self._routed_by = 0.0  # until then, the route is checked more often
        self._on_fault: Callable[[str], object] = lambda _: None
        self._repair_gateway = Repair(self._registrator, self._definition, timing.gone_s, lambda: on_state(False))
        self._targets = TargetWatch(self._registrator, identity, self._target, timing.gone_s)
        self._state: GatewayState | None = None
        self._stop = threading.Event()
        self._last_errors: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="instance", daemon=True)

    def start(self, on_fault: Callable[[str], object] = lambda _: None) -> None:
        """Start a background thread that joins when this instance is ready, and then repairs its registration.

        Args:
            on_fault: Called with the cause if, after `timing.route_s`, calls still do not arrive at this service.
        """
        self._on_fault = on_fault
        self._thread.start()

    def deregister(self) -> None:
        """Stop the thread, and remove this instance from the upstream and from Consul. Failures are only logged."""
        self._stop.set()
        self._thread.join(2 * TIMEOUT_S)
        self._on_state(False)
        if self._definition.upstream is not None:
            self._attempt(self._remove_target)
        if self._consul is not None:
            self._attempt(self._deregister_from_consul)
        log.info("deregistered the instance %s", self._name)

    def _run(self) -> None:
        while not self._ready():
            if self._stop.wait(READY_INTERVAL_S):
                return
        self._routed_by = time.monotonic() + self._timing.route_s
        self._join()
        while not self._stop.wait(self._pause_s()):
            self._attempt(self._read_declaration)
            self._attempt(self._repair)
            self._join()

    def _join(self) -> None:
        for is_needed, action in (
            (self._definition.upstream is not None, self._add_target),
            (self._consul is not None, self._register_in_consul),
            (self._state is not None and self._definition.upstream is not None, self._check_targets),
            (True, self._check_competitors),
            (self._check_route is not None, self._ensure_routed),
        ):
            if is_needed and not self._stop.is_set():
                self._attempt(action)
        self._on_state(not self._last_errors and not self._stop.is_set())

    def _add_target(self) -> None:
        if self._registrator.add_target(self._definition, self._target, self._identity.instance):
            log.info("added the target %s to the upstream %s", self._target, self._definition.upstream)

    def _remove_target(self) -> None:
        for target in self._registrator.targets(self._definition):
            # The address may have become that of another instance.
            if target.address == self._target and target.instance in (None, self._identity.instance):
                self._registrator.remove_target(self._definition, target)

    def _check_targets(self) -> None:
        assert self._state is not None
        self._targets.check(self._definition, self._state.targets)

    def _register_in_consul(self) -> None:
        assert self._consul is not None
        # The first registration replaces one that an earlier process, or another release, has left.
        if not self._is_in_consul or not self._consul.is_registered(self._name):
            url = f"{self._definition.protocol}://{with_port(self._host, self._port)}"
            self._consul.register(
                self._definition.name, self._name, self._host, self._port, url, is_ready=self._ready()
            )
            self._is_in_consul = True
            log.info("registered %s with the Consul agent at %s", self._name, self._consul.url)

    def _deregister_from_consul(self) -> None:
        assert self._consul is not None
        self._consul.deregister(self._name)

    def _check_competitors(self) -> None:
        self._repair_gateway.check_competitors(self._definition)

    def _ensure_routed(self) -> None:
        assert self._check_route is not None
        try:
            found = self._check_route()
        except NotRouted as err:
            if err.is_fault and not self._is_routed and time.monotonic() >= self._routed_by:
                self._on_fault(str(err))
            raise
        if not self._is_routed:
            log.info("%s", found)
        self._is_routed = True

    def _pause_s(self) -> float:
        is_awaited = self._check_route is not None and not self._is_routed
        # Once more after the time is over, so that a failure is reported.
        if is_awaited and time.monotonic() < self._routed_by + 2 * ROUTE_INTERVAL_S:
            return min(ROUTE_INTERVAL_S, self._timing.interval_s)
        return self._timing.interval_s

    def _read_declaration(self) -> None:
        """Read the declaration, which may be unreadable for a while; the previous one is kept up then."""
        self._definition = self._declare()

    def _repair(self) -> None:
        self._state = self._repair_gateway(self._definition)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Run an action, and log its failure unless it is the same as the last one.

        No failure ends the thread, because a later attempt may succeed.
        """
        name = action.__name__
        try:
            action()
            if self._last_errors.pop(name, None) is not None:
                log.info("resolved: %s", name.strip("_").replace("_", " "))
        except Exception as err:
            if self._last_errors.get(name) != str(err):
                expected = isinstance(err, RegistrationException | ConsulUnavailable | LoanerError)
                log.warning("%s", err, exc_info=not expected)
            self._last_errors[name] = str(err)
