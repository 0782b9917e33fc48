"""The headers of every reply of the page."""

from flask import Response, request

from service.web.page.origin_check import referrer_policy

# Nothing but this service's own files: no inline script or style, no frames, no other sites.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def secure(response: Response, policy: str | None = None) -> Response:
    """Add the headers to a reply, and return it. It is not stored, unless it says so itself.

    Args:
        response: The reply.
        policy: The referrer policy; by default that for the current request.
    """
    response.headers.update(_HEADERS)
    response.headers["Referrer-Policy"] = policy or referrer_policy(request)
    response.headers.setdefault("Cache-Control", "no-store")
    return response
