"""Checks through the gateway's proxy that calls arrive at this service."""

import time
from collections.abc import Callable

import requests

from service.gateway.identity import Identity
from service.gateway.identity_probe import PATH, Answer, probe
from service.gateway.registrator import RegistrationException
from service.net.urls import without_password

INTERVAL_S = 0.2
REQUIRED_ANSWERS = 5  # the gateway's workers pick up a new route one by one, and its targets take turns
UNAVAILABLE = frozenset((502, 503, 504))


class NotRouted(RegistrationException):
    """Calls through the gateway do not arrive at this service.

    Args:
        message: What was observed.
        is_fault: Whether the gateway lacks the route, or another service answers. Otherwise it may be temporary.
    """

    def __init__(self, message: str, *, is_fault: bool) -> None:
        super().__init__(message)
        self.is_fault = is_fault


def check_routed(base_url: str, identity: Identity, ca_file: str | None = None) -> str:
    """Return what proves that calls arrive here, or why that cannot be proven.

    Args:
        base_url: URL of the service on the gateway's proxy.
        identity: Verifies the proofs.
        ca_file: PEM file with the authorities that the proxy's certificate is verified against.

    Raises:
        NotRouted: If one of REQUIRED_ANSWERS answers comes from elsewhere.
    """
    url = without_password(base_url + PATH)
    unproven = None
    for _ in range(REQUIRED_ANSWERS):
        try:
            answer = probe(base_url, identity, ca_file)
        except (requests.RequestException, OSError) as err:
            raise NotRouted(f"{url} is not routed to this service ({type(err).__name__})", is_fault=True) from err
        unproven = _judge(url, answer, identity) or unproven
    return f"{url} is routed to this service" + (f", but not proven: {unproven}" if unproven else "")


def wait_until_routed(check: Callable[[], str], timeout_s: float, sleep: Callable[[float], object] = time.sleep) -> str:
    """Repeat a check until it succeeds.

    Args:
        check: Raises NotRouted.
        timeout_s: Seconds to wait.
        sleep: Waits between two checks.

    Raises:
        NotRouted: If the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return check()
        except NotRouted:
            if time.monotonic() > deadline:
                raise
        sleep(INTERVAL_S)


def _judge(url: str, answer: Answer, identity: Identity) -> str | None:
    """Return None for a proof, or why none is possible.

    A proxied response has the header X-Kong-Upstream-Latency. If Kong itself responds, a 404 means that it has no
    matching route, and 502 to 504 that it reaches no instance; any other status comes from a plugin.

    Raises:
        NotRouted: If the answer comes from elsewhere.
    """
    status = answer.status
    if answer.instance is not None:
        return None
    if status in UNAVAILABLE:
        raise NotRouted(f"{url} reaches no instance (the gateway answered {status})", is_fault=False)
    if "X-Kong-Upstream-Latency" not in answer.headers and _is_from_kong(answer):
        if status == 404:
            raise NotRouted(f"{url} is not routed to this service (the gateway answered 404)", is_fault=True)
        return f"the gateway itself answered {status}, as a plugin does"
    if not identity.has_secrets():
        return "KEYS_DIR has no signing key of this service"
    if answer.looks_unsigned:
        raise NotRouted(
            f"{url}: an instance of an earlier release, or another service, answered {status} without proof",
            is_fault=False,
        )
    raise NotRouted(
        f"{url} is not routed to this service: another service answered {status}, or this one at another path",
        is_fault=True,
    )


def _is_from_kong(answer: Answer) -> bool:
    return "X-Kong-Response-Latency" in answer.headers or "kong" in answer.headers.get("Server", "").lower()
