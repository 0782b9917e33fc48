"""Recognizes forms that another site sends (cross-site request forgery), also those that would sign a person in.

The cookie is SameSite=Strict, but the form of the sign-in works without a cookie, and sites of the same domain are not
cross-site. So the browser's own statements about where a form comes from decide, as in Go's CrossOriginProtection:
`Sec-Fetch-Site`, which browsers send to HTTPS and localhost, otherwise `Origin`. Scripts cannot set either.
A client that sends neither is not a browser, and has no cookies of a person.
"""

from flask import Request

_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def comes_from_here(request: Request) -> bool:
    """Return whether a form was sent by this page, or by a client that is not a browser."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")  # none: a person has repeated the request
    origin = request.headers.get("Origin")
    return origin is None or origin == f"{request.scheme}://{request.host}"


def referrer_policy(request: Request) -> str:
    """Return the policy for a reply. No other site receives a referrer.

    Under `no-referrer`, browsers send `Origin: null` with forms. Over plain HTTP to another machine, and Safari before
    16.4 over HTTPS too, they do not send `Sec-Fetch-Site` either, so this page's forms would look like those of other
    sites. Behind a proxy that is not trusted, only `Origin` shows that the browser uses HTTPS.
    """
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    is_known = request.is_secure or host in _LOCAL
    return "no-referrer" if is_known and "Sec-Fetch-Site" in request.headers else "same-origin"
