"""A client for JSON over HTTP with bounds on time and size."""

import time
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from security.strict_json import parse_json
from security.trace_context import trace_headers

TIMEOUT_S = (3.0, 5.0)  # to connect, to respond
MAX_BYTES = 1_000_000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class FetchFailed(Exception):
    """A failed request for a JSON object.

    Args:
        message: The URL and the reason, without any secret.
        status: The HTTP status of the reply, if that is the reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class BodyTooLarge(Exception):
    """A response body above its size limit."""


def is_protected(url: str) -> bool:
    """Return whether responses cannot be altered in transit: the URL is https, or http on the loopback interface."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def require_https(url: str) -> str:
    """Return the URL if it is protected.

    Raises:
        ValueError: If it is not; see `is_protected`.
    """
    if not is_protected(url):
        raise ValueError(f"{url!r} is not an https URL")
    return url


def fetch_json(method: str, url: str, **options: Any) -> dict[str, Any]:
    """Request a JSON object. Redirects are not followed. The headers name the trace of the current request.

    Args:
        method: The HTTP method.
        url: The URL.
        **options: Further options of `requests.request`, except headers.

    Raises:
        FetchFailed: If the server is unreachable, too slow, or returns anything but a JSON object with status 200.
    """
    try:
        with requests.request(
            method, url, timeout=TIMEOUT_S, allow_redirects=False, stream=True, headers=trace_headers.get(), **options
        ) as response:
            if response.status_code != 200:
                raise FetchFailed(f"{url} answered {response.status_code}", response.status_code)
            body = bounded_body(response, time.monotonic() + TIMEOUT_S[1], MAX_BYTES)
    except BodyTooLarge as err:
        raise FetchFailed(f"{url} answered {err}") from err
    except (requests.RequestException, HTTPError, OSError) as err:
        raise FetchFailed(f"{url}: request failed: {type(err).__name__}") from err
    try:
        members = parse_json(body)
    except ValueError as err:
        raise FetchFailed(f"{url} did not answer JSON with unique member names") from err
    if not isinstance(members, dict):
        raise FetchFailed(f"{url} did not answer a JSON object")
    return members


def bounded_body(response: requests.Response, deadline: float, limit: int) -> bytes:
    """Return the decoded body of a streamed response.

    The read timeout of requests restarts with every byte, so it does not bound a slow response.

    Args:
        response: A response requested with `stream=True`.
        deadline: The latest time to finish, on the clock `time.monotonic`.
        limit: The largest body, in bytes.

    Raises:
        BodyTooLarge: If the body is larger than the limit.
        requests.Timeout: If the deadline passes.
    """
    content = b""
    while piece := response.raw.read1(65536, decode_content=True):
        content += piece
        if len(content) > limit:
            raise BodyTooLarge(f"more than {limit} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout("the response took too long")
    return content
