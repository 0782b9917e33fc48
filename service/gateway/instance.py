"""One running instance as a member of the platform: it joins when it is ready, keeps what it declared, and leaves."""

import logging
import threading
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


class Instance:
    """declare: what is wanted of the gateway, as it is now. host, port: where this instance is reached. consul: the
    agent that makes it known, if it does so itself. ready: whether it can answer. interval_s: seconds between two looks
    at what the gateway has. tell: is told, after each of them, whether the platform has what was declared.
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
        tell: Callable[[bool], object] = lambda _: None,
    ) -> None:
        self._registrator = registrator.with_timeout(TIMEOUT_S)
        self._declare = declare
        self._definition = declare()
        self._host = host
        self._port = port
        # a gateway keeps addresses of IPv6 written out, and finds them by their letters
        self._target = with_port(IPv6Address(host).exploded if ":" in host else host, port)
        self._name = f"{self._definition.name}-{host}-{port}"
        self._ready = ready
        self._interval_s = interval_s
        self._consul = consul
        self._tell = tell
        self._declaration_tags = {self._definition.declaration_tag}
        self._stop = threading.Event()
        self._complaints: dict[str, str] = {}
        self._thread = threading.Thread(target=self._live, name="instance", daemon=True)

    def start(self) -> None:
        """Join as soon as it is ready, and repair from time to time what others change; in the background."""
        self._thread.start()

    def leave(self) -> None:
        """Have no more requests sent here. What does not answer is logged and left alone."""
        self._stop.set()
        self._thread.join(2 * TIMEOUT_S)
        self._tell(False)
        if self._definition.upstream is not None:
            self._try(self._remove_target)
        if self._consul is not None:
            self._try(self._deregister_from_consul)
        log.info("left the platform")

    def _live(self) -> None:
        while not self._ready():
            if self._stop.wait(READY_INTERVAL_S):
                return
        self._join()
        while not self._stop.wait(self._interval_s):
            self._try(self._repair)
            self._join()

    def _join(self) -> None:
        """Be known to the gateway and to Consul, unless that is so, and tell whether everything is as declared."""
        if self._definition.upstream is not None and not self._stop.is_set():
            self._try(self._add_target)
        if self._consul is not None and not self._stop.is_set():
            self._try(self._register_in_consul)
        self._tell(not self._complaints and not self._stop.is_set())

    def _add_target(self) -> None:
        if self._registrator.add_target(self._definition, self._target):
            log.info("%s takes requests from the gateway", self._target)

    def _remove_target(self) -> None:
        self._registrator.remove_target(self._definition, self._target)

    def _register_in_consul(self) -> None:
        assert self._consul is not None
        if not self._consul.knows(self._name):
            health = f"{self._definition.protocol}://{with_port(self._host, self._port)}/healthcheck"
            self._consul.register(self._definition.name, self._name, self._host, self._port, health)
            log.info("known to the Consul agent at %s as %s", self._consul.url, self._name)

    def _deregister_from_consul(self) -> None:
        assert self._consul is not None
        self._consul.deregister(self._name)

    def _repair(self) -> None:
        definition = self._declare()
        self._declaration_tags.add(definition.declaration_tag)
        for change in self._registrator.reconcile(definition, repairing=self._declaration_tags):
            log.warning("the gateway had changed and was put right: %s", " ".join(str(change).split()))

    def _try(self, act: Callable[[], object]) -> None:
        """Act; say what fails, and each failure once for as long as it lasts. Nothing that fails ends the thread: the
        next time may be better.
        """
        name = act.__name__
        try:
            act()
            self._complaints.pop(name, None)
        except Exception as err:
            if self._complaints.get(name) != str(err):
                known = isinstance(err, RegistrationException | ConsulUnavailable)
                log.warning("%s", err, exc_info=not known)
            self._complaints[name] = str(err)
