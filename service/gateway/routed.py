"""Whether the gateway's proxy really routes to the service: a new route takes a while to get to every worker."""

import time

import requests

from service.gateway.registrator import RegistrationException

TIMEOUT_S = 5
INTERVAL_S = 0.2
ENOUGH = 3  # answers in a row: the workers of a gateway learn of a route one by one


def wait_until_routed(url: str, patience_s: float) -> None:
    """Wait until the gateway passes requests for `url` on.

    Any proxied answer carries X-Kong-Upstream-Latency, a 502 included; a gateway's own 404 does not. A 503 without it
    comes from an upstream that has no ready instance yet, or a name that does not resolve: the route is there.

    Raises: RegistrationException when the time is over.
    """
    deadline = time.monotonic() + patience_s
    routed = 0
    said = "nothing"
    while routed < ENOUGH:
        if time.monotonic() > deadline:
            raise RegistrationException(f"{url} is not routed to this service: the gateway answered {said}")
        try:
            with requests.get(url, timeout=TIMEOUT_S, allow_redirects=False) as reply:
                said = str(reply.status_code)
                if "X-Kong-Upstream-Latency" in reply.headers or reply.status_code == 503:
                    routed += 1
                    continue
        except requests.RequestException as err:
            said = type(err).__name__
        routed = 0
        time.sleep(INTERVAL_S)
