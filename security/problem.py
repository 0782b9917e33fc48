"""Refusals as RFC 9457 describes them, carrying Microkubes' `code` and `message` as well."""

import json
from http import HTTPStatus
from typing import Any

from security.errors import REALM, SecurityException

MEDIA_TYPE = "application/problem+json"


def phrase(status: int) -> str:
    """A status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused" if status >= 400 else "OK"


def problem(status: int, message: str, **members: Any) -> dict[str, Any]:
    """The members of a problem document. members: extensions, or a `type` in place of `about:blank`."""
    return {
        "type": "about:blank",
        "title": phrase(status),
        "status": status,
        "detail": message,
        "code": status,
        "message": message,
        **members,
    }


def refusal(err: SecurityException) -> tuple[int, dict[str, str], str]:
    """What a client gets to see of a refusal: status, headers, body."""
    headers = {"Content-Type": MEDIA_TYPE, **err.headers}
    if (
        err.status_code == 401
    ):  # RFC 9110, section 11.6.1: with a challenge, also where a provider of one's own raised it
        headers.setdefault("WWW-Authenticate", f'Bearer realm="{REALM}"')
    return err.status_code, headers, json.dumps(problem(err.status_code, str(err)), separators=(",", ":"))
