"""The membership of a running instance: it joins when ready, repairs its registration, and deregisters on shutdown."""

import logging
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address

from service.gateway.consul import ConsulAgent, ConsulUnavailable
from service.gateway.definition import Definition
from service.gateway.kong import KongGatewayRegistrator
from service.gateway.registrator import RegistrationException
from service.net.urls import with_port

log = logging.getLogger(__name__)

READY_INTERVAL_S = 0.2
TIMEOUT_S = 5.0
ROUTE_INTERVAL_S = 1.0
ROUTE_TIMEOUT_S = 60.0  # longer than a gateway takes to apply a new route


class Instance:
    """Keeps a running instance registered with the gateway and, optionally, with Consul.

    Args:
        registrator: Registers with the gateway.
        declare: Returns the current declaration; called before each comparison.
        host: Address at which this instance is reached.
        port: Port at which this instance is reached.
        ready: Returns whether this instance can answer requests.
        interval_s: Seconds between comparisons with the gateway.
        consul: The agent to register with, if this instance does so itself.
        on_state: Called after each comparison with whether everything is registered as declared.
        check_route: Raises RegistrationException unless the gateway routes to this instance; called once it has joined,
            until it succeeds.
    """

    def __init__(
        self,
        registrator: KongGatewayRegistrator,
        declare: Callable[[], Definition],
        host: str,
        port: int,
        ready: Callable[[], bool],
        interval_s: float,
        consul: ConsulAgent | None = None,
        on_state: Callable[[bool], object] = lambda _: None,
        check_route: Callable[[], object] | None = None,
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
        self._interval_s = interval_s
        self._consul = consul
        self._is_in_consul = False
        self._on_state = on_state
        self._check_route = check_route
        self._routed_by = 0.0  # until then, the route is checked more often
        self._own_declarations = {self._definition.declaration_tag}
        self._stop = threading.Event()
        self._last_errors: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="instance", daemon=True)

    def start(self) -> None:
        """Start a background thread that joins when this instance is ready, and then repairs its registration."""
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
        self._routed_by = time.monotonic() + ROUTE_TIMEOUT_S
        self._ensure_registered()
        while not self._stop.wait(self._pause_s()):
            self._attempt(self._repair)
            self._ensure_registered()

    def _ensure_registered(self) -> None:
        if self._definition.upstream is not None and not self._stop.is_set():
            self._attempt(self._add_target)
        if self._consul is not None and not self._stop.is_set():
            self._attempt(self._register_in_consul)
        if self._check_route is not None and not self._stop.is_set():
            self._attempt(self._ensure_routed)
        self._on_state(not self._last_errors and not self._stop.is_set())

    def _add_target(self) -> None:
        if self._registrator.add_target(self._definition, self._target):
            log.info("added the target %s to the upstream %s", self._target, self._definition.upstream)

    def _remove_target(self) -> None:
        self._registrator.remove_target(self._definition, self._target)

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

    def _ensure_routed(self) -> None:
        assert self._check_route is not None
        self._check_route()
        self._check_route = None
        log.info("the gateway routes to this service")

    def _pause_s(self) -> float:
        is_awaited = self._check_route is not None and time.monotonic() < self._routed_by
        return min(ROUTE_INTERVAL_S, self._interval_s) if is_awaited else self._interval_s

    def _deregister_from_consul(self) -> None:
        assert self._consul is not None
        self._consul.deregister(self._name)

    def _repair(self) -> None:
        definition = self._declare()
        self._own_declarations.add(definition.declaration_tag)
        for change in self._registrator.reconcile(definition, own_declarations=self._own_declarations):
            log.warning("repaired a difference on the gateway: %s", " ".join(str(change).split()))

    def _attempt(self, action: Callable[[], object]) -> None:
        """Run an action, and log its failure unless it is the same as the last one.

        No failure ends the thread, because a later attempt may succeed.
        """
        name = action.__name__
        try:
            action()
            self._last_errors.pop(name, None)
        except Exception as err:
            if self._last_errors.get(name) != str(err):
                expected = isinstance(err, RegistrationException | ConsulUnavailable)
                log.warning("%s", err, exc_info=not expected)
            self._last_errors[name] = str(err)
