"""Each request is measured and logged, and has one name wherever it is told of: taken or made here, and returned."""

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
ROUTE = "loaner.route"  # where an environment says which route it is that Flask never sees
PROBES = ("/healthcheck", "/ready")
# what Kong 3 adds by itself, and what its plugin correlation-id sends by default
TAKEN_FROM = ("HTTP_X_REQUEST_ID", "HTTP_X_KONG_REQUEST_ID", "HTTP_KONG_REQUEST_ID")
MAX_LOGGED_PATH = 1000  # in the log
_ID = re.compile(r"[A-Za-z0-9._:#-]{1,128}")

log = logging.getLogger("service.access")


class RequestLog:
    """WSGI middleware, within TrustedProxies: whatever is logged during a request has its id, and so has the reply."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun = time.perf_counter()
        name = _given(environ) or os.urandom(16).hex()
        request_id.set(name)  # for what a reply logs while it is sent as well; the next request sets its own
        status = "500"  # of an application that fails before it answers
        route = OTHER

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status, route
            status = line[:3]
            # Flask's request, which it takes away again when it has answered
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            route = rule.rule if rule is not None else environ.get(ROUTE, OTHER)
            return start_response(line, [*headers, (HEADER, name)], *exc_info)

        try:
            return self._application(environ, start)  # type: ignore[no-any-return]
        finally:
            took_s = time.perf_counter() - begun
            method = known_method(environ["REQUEST_METHOD"].upper())
            request_timer(route, method, status).observe(took_s)
            _write(environ, method, status, took_s)


def _write(environ: dict[str, Any], method: str, status: str, took_s: float) -> None:
    path = _path(environ)
    # probes that find all well come every second
    level = logging.DEBUG if path in PROBES and status == "200" else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "%s %s %s %s %.1f ms", _address(environ.get("REMOTE_ADDR")), method, path, status, took_s * 1000)


def _given(environ: dict[str, Any]) -> str | None:
    """The id that a proxy of ours gives; whatever else may come in such a header must not get into the log."""
    if environ.get("loaner.trusted_proxy"):
        for name in TAKEN_FROM:
            value = environ.get(name)
            if value and _ID.fullmatch(value):
                return str(value)
    return None


@lru_cache(1024)
def _address(told: str | None) -> str:
    """Whence it comes: an address, whatever a proxy says."""
    try:
        return str(ip_address(told or ""))
    except ValueError:
        return "-"


def _path(environ: dict[str, Any]) -> str:
    """The path, in characters that a log line may hold, and without a query."""
    path: str = environ.get("PATH_INFO", "")
    if path.isascii() and path.isprintable():
        return "/" + path.lstrip("/")[:MAX_LOGGED_PATH]
    path = "/" + get_path_info(environ).lstrip("/")[:MAX_LOGGED_PATH]
    return path.encode("ascii", "backslashreplace").decode() if path.isprintable() else repr(path)
