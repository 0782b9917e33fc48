"""Checks that the gateway's proxy routes requests to the service."""

import time

import requests

from service.gateway.registrator import RegistrationException
from service.net.session import direct_session
from service.net.urls import without_password

TIMEOUT_S = 5
INTERVAL_S = 0.2
REQUIRED_ANSWERS = 3  # consecutive: the gateway's workers pick up a new route one by one


def wait_until_routed(url: str, timeout_s: float, ca_file: str | None = None) -> None:
    """Wait until the gateway's proxy has a route for a URL.

    A proxied response has the header X-Kong-Upstream-Latency, even a 502. If Kong itself responds, a 404 means that the
    route does not exist yet. Any other status comes from a plugin (401) or from an upstream that is not ready or does
    not resolve (503), so the route exists.

    Args:
        url: URL of the service on the gateway's proxy.
        timeout_s: Seconds to wait.
        ca_file: PEM file with the authorities that the proxy's certificate is verified against.

    Raises:
        RegistrationException: If the time is over.
    """
    deadline = time.monotonic() + timeout_s
    routed = 0
    last = "no response"
    with direct_session(ca_file) as session:
        while routed < REQUIRED_ANSWERS:
            if time.monotonic() > deadline:
                raise RegistrationException(f"{without_password(url)} is not routed to this service ({last})")
            try:
                with session.get(url, timeout=TIMEOUT_S, allow_redirects=False) as reply:
                    last = f"the gateway answered {reply.status_code}"
                    if _has_route(reply):
                        routed += 1
                        continue
            except requests.RequestException as err:
                last = f"request failed: {type(err).__name__}"
            routed = 0
            time.sleep(INTERVAL_S)


def _has_route(reply: requests.Response) -> bool:
    if "X-Kong-Upstream-Latency" in reply.headers:
        return True
    from_kong = "X-Kong-Response-Latency" in reply.headers or "kong" in reply.headers.get("Server", "").lower()
    return from_kong and reply.status_code != 404
