"""Refusals as RFC 9457 describes them, carrying Microkubes' `code` and `message` as well."""

from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


def problem(status: int, message: str, **members: Any) -> dict[str, Any]:
    """The members of a problem document. members: extensions, or a `type` in place of `about:blank`."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "code": status,
        "message": message,
        **members,
    }
