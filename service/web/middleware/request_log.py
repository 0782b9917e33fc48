"""Measures and logs each request, and gives it an id.

The id comes from a trusted proxy or is generated. It appears in every log line of the request and in the reply.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from werkzeug.wsgi import get_path_info

from service.observability.logging import request_id
from service.observability.metrics import OTHER, known_method, request_timer

HEADER = "X-Request-ID"
ROUTE = "loaner.route"  # the environment's key of the route, for requests that Flask does not see
PROBES = ("/healthcheck", "/ready")
# Kong 3 adds the second by default, and its plugin correlation-id adds the third.
ID_HEADERS = ("HTTP_X_REQUEST_ID", "HTTP_X_KONG_REQUEST_ID", "HTTP_KONG_REQUEST_ID")
MAX_LOGGED_PATH = 1000
_ID = re.compile(r"[A-Za-z0-9._:#-]{1,128}")

log = logging.getLogger("service.access")


class RequestLog:
    """WSGI middleware that measures and logs requests. It belongs inside TrustedProxies."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application, then record the request's duration and status."""
        started = time.perf_counter()
        name = _received_id(environ) or os.urandom(16).hex()
        request_id.set(name)  # not reset here: a streamed body is sent later, and may log as well
        status = "500"  # if the application fails before it replies
        route = OTHER

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status, route
            status = line[:3]
            # Read the rule now: Flask discards its request after the reply.
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            route = rule.rule if rule is not None else environ.get(ROUTE, OTHER)
            return start_response(line, [*headers, (HEADER, name)], *exc_info)

        try:
            return self._application(environ, start)  # type: ignore[no-any-return]
        finally:
            duration_s = time.perf_counter() - started
            method = known_method(environ["REQUEST_METHOD"].upper())
            request_timer(route, method, status).observe(duration_s)
            _write(environ, method, status, duration_s)


def _write(environ: dict[str, Any], method: str, status: str, duration_s: float) -> None:
    path = _path(environ)
    # Successful probes are frequent and say nothing new.
    level = logging.DEBUG if path in PROBES and status == "200" else logging.INFO
    if log.isEnabledFor(level):
        address = _address(environ.get("REMOTE_ADDR"))
        log.log(level, "%s %s %s %s %.1f ms", address, method, path, status, duration_s * 1000)


def _received_id(environ: dict[str, Any]) -> str | None:
    """Return the id that a trusted proxy sent. Other values must not reach the log."""
    if environ.get("loaner.trusted_proxy"):
        for name in ID_HEADERS:
            value = environ.get(name)
            if value and _ID.fullmatch(value):
                return str(value)
    return None


@lru_cache(1024)
def _address(text: str | None) -> str:
    """Return the client's address, or "-" if a proxy reported something else."""
    try:
        return str(ip_address(text or ""))
    except ValueError:
        return "-"


def _path(environ: dict[str, Any]) -> str:
    """Return the path without its query, in characters that are safe in a log line."""
    path: str = environ.get("PATH_INFO", "")
    if path.isascii() and path.isprintable():
        return "/" + path.lstrip("/")[:MAX_LOGGED_PATH]
    path = "/" + get_path_info(environ).lstrip("/")[:MAX_LOGGED_PATH]
    return path.encode("ascii", "backslashreplace").decode() if path.isprintable() else repr(path)
