"""Problem documents (RFC 9457) with the additional members `code` and `message` of Microkubes."""

import json
from http import HTTPStatus
from typing import Any

from security.errors import REALM, SecurityException

MEDIA_TYPE = "application/problem+json"


def reason_phrase(status: int) -> str:
    """Return the reason phrase of a status code."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused" if status >= 400 else "OK"


def problem(status: int, message: str, **members: Any) -> dict[str, Any]:
    """Return the members of a problem document.

    Args:
        status: The HTTP status code.
        message: The detail.
        **members: Extension members, or a `type` other than `about:blank`.
    """
    return {
        "type": "about:blank",
        "title": reason_phrase(status),
        "status": status,
        "detail": message,
        "code": status,
        "message": message,
        **members,
    }


def to_response(err: SecurityException) -> tuple[int, dict[str, str], str]:
    """Return the response for a rejected request: status, headers and body."""
    headers = {"Content-Type": MEDIA_TYPE, **err.headers}
    if err.status_code == 401:  # RFC 9110, section 11.6.1: every 401 carries a challenge
        headers.setdefault("WWW-Authenticate", f'Bearer realm="{REALM}"')
    return err.status_code, headers, json.dumps(problem(err.status_code, str(err)), separators=(",", ":"))
