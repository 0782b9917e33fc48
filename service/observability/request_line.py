"""The line that the log has for a request."""

import logging
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from service.observability.logging import format_line

MAX_PATH = 1000
PROBES = ("/healthcheck", "/ready")

log = logging.getLogger("service.access")


class Request(NamedTuple):
    """A request that has been answered.

    Attributes:
        ended_at: The Unix time.
        address: The client's address, or what a proxy reported instead; empty if unknown.
        method: The method.
        path: The path without its query, percent-decoded.
        route: The path pattern.
        status: The status of the reply.
        duration_s: Seconds until the reply was ready.
        id: The request's id, and its trace if known.
    """

    ended_at: float
    address: str
    method: str
    path: str
    route: str
    status: int
    duration_s: float
    id: str


def format_request(request: Request) -> str | None:
    """Return the line of a request, or None if the log level excludes it."""
    ended_at, address, method, path, _, status, duration_s, request_id = request
    path = _path(path)
    # Successful probes are frequent and say nothing new.
    level, name = (logging.DEBUG, "DEBUG") if status == 200 and path in PROBES else (logging.INFO, "INFO")
    if not log.isEnabledFor(level):
        return None
    message = f"{_address(address)} {method} {path} {status} {duration_s * 1000:.1f} ms"
    return format_line(ended_at, name, log.name, request_id, message)


@lru_cache(1024)
def _address(text: str) -> str:
    """Return the client's address, or "-" if a proxy reported something else.

    The zone of an IPv6 address is left out: it means nothing elsewhere, and may contain any character.
    """
    try:
        return str(ip_address(text)).partition("%")[0]
    except ValueError:
        return "-"


def _path(path: str) -> str:
    """Return the path in characters that are safe in a log line."""
    path = "/" + path.lstrip("/")[:MAX_PATH]
    if path.isascii() and path.isprintable():
        return path
    return path.encode("ascii", "backslashreplace").decode() if path.isprintable() else repr(path)
