"""One name for a request wherever it is told of: from the gateway, or made here; logged, and returned."""

import logging
import re
import time
import uuid
from ipaddress import ip_address

from flask import Flask, Response, g, request

from service.logs import request_id

HEADER = "X-Request-ID"
PROBES = ("/healthcheck", "/ready")
# what Kong 3 adds by itself, and what its plugin correlation-id sends by default
TAKEN_FROM = (HEADER, "X-Kong-Request-Id", "Kong-Request-ID")

log = logging.getLogger("service.access")


def identify_requests(app: Flask) -> None:
    """Give every request of `app` an id, and a line in the log when it has been answered."""

    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()
        request_id.set(_given() or uuid.uuid4().hex)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = request_id.get()
        # probes that find all well come every second
        level = logging.DEBUG if request.path in PROBES and response.status_code == 200 else logging.INFO
        if log.isEnabledFor(level):
            took_ms = (time.perf_counter() - g.begun) * 1000 if "begun" in g else 0.0
            log.log(level, "%s %s %s %d %.1f ms", _address(), request.method, _shown(), response.status_code, took_ms)
        return response


def _given() -> str | None:
    """The id that a proxy of ours gives; whatever else may come in such a header must not get into the log."""
    if request.environ.get("loaner.trusted_proxy"):
        for name in TAKEN_FROM:
            value = request.headers.get(name)
            if value and re.fullmatch(r"[A-Za-z0-9._:#-]{1,128}", value):
                return value
    return None


def _address() -> str:
    """Whence it comes: an address, whatever a proxy says."""
    try:
        return str(ip_address(request.remote_addr or ""))
    except ValueError:
        return "-"


def _shown() -> str:
    """The path, in characters that a log line may hold, and without a query."""
    path = request.path
    return path.encode("ascii", "backslashreplace").decode() if path.isprintable() else repr(path)
