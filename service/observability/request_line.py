"""The line that the log has for a request."""

import logging
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from service.observability import log_json, log_text
from service.observability.logging import is_json

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
        id: The request's id.
        trace_id: The id of its trace; empty without one.
        caller: The user or client of the token; empty if unknown.
        rejection: Why the token was rejected; empty if it was not.
    """

    ended_at: float
    address: str
    method: str
    path: str
    route: str
    status: int
    duration_s: float
    id: str
    trace_id: str = ""
    caller: str = ""
    rejection: str = ""


def format_request(request: Request) -> str | None:
    """Return the line of a request, or None if the log level excludes it."""
    ended_at, address, method, path, route, status, duration_s, request_id, trace_id, caller, rejection = request
    path = _printable("/" + path.lstrip("/")[:MAX_PATH])
    # Successful probes are frequent and say nothing new.
    level, name = (logging.DEBUG, "DEBUG") if status == 200 and path in PROBES else (logging.INFO, "INFO")
    if not log.isEnabledFor(level):
        return None
    if is_json():
        return log_json.format_line(
            ended_at, name, log.name, f"{method} {path} {status}", request_id, trace_id,
            method=method, route=route, path=path, status=status, milliseconds=round(duration_s * 1000, 3),
            client=_address(address), caller=_printable(caller), rejection=_printable(rejection),
        )  # fmt: skip
    message = f"{_address(address) or '-'} {method} {path} {status} {duration_s * 1000:.1f} ms"
    if rejection:
        message = f"{message}; rejected a token: {_printable(rejection)}"
    return log_text.format_line(ended_at, name, log.name, log_text.request_label(request_id, trace_id), message)


@lru_cache(1024)
def _address(text: str) -> str:
    """Return the client's address; empty if a proxy reported something else.

    The zone of an IPv6 address is left out: it means nothing elsewhere, and may contain any character.
    """
    try:
        return str(ip_address(text)).partition("%")[0]
    except ValueError:
        return ""


def _printable(text: str) -> str:
    """Return a text in characters that are safe in a log line."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("ascii", "backslashreplace").decode() if text.isprintable() else repr(text)
