"""Whether the gateway's proxy really routes to the service: a new route takes a while to get to every worker."""

import time

import requests

from service.gateway.registrator import RegistrationException
from service.net.urls import without_password

TIMEOUT_S = 5
INTERVAL_S = 0.2
ENOUGH = 3  # answers in a row: the workers of a gateway learn of a route one by one


def wait_until_routed(url: str, timeout_s: float, ca_file: str | None = None) -> None:
    """Wait until the gateway passes requests for `url` on, to us or to a plugin that stands before us.

    Any proxied answer carries X-Kong-Upstream-Latency, a 502 included. A gateway's own 404 does not; any other answer
    of its own (401 of a plugin, 503 of an upstream without a ready instance, or of a name that does not resolve) means
    that the route is there. ca_file: certificates that the proxy's own is checked against.

    Raises: RegistrationException when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    session = requests.Session()
    session.trust_env = False  # the gateway is a neighbour: no other proxy stands between
    session.verify = ca_file or True
    routed = 0
    said = "nothing"
    while routed < ENOUGH:
        if time.monotonic() > deadline:
            raise RegistrationException(
                f"{without_password(url)} is not routed to this service: the gateway answered {said}"
            )
        try:
            with session.get(url, timeout=TIMEOUT_S, allow_redirects=False) as reply:
                said = str(reply.status_code)
                own = "X-Kong-Response-Latency" in reply.headers or "kong" in reply.headers.get("Server", "").lower()
                if "X-Kong-Upstream-Latency" in reply.headers or (own and reply.status_code != 404):
                    routed += 1
                    continue
        except requests.RequestException as err:
            said = type(err).__name__
        routed = 0
        time.sleep(INTERVAL_S)
