"""Gives each request an id, and records it in the request log."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wsgi import get_path_info

from service.observability.logging import request_id
from service.observability.request_id import HEADER, ID_HEADERS, accept_id
from service.observability.request_log import RequestLog

ROUTE = "loaner.route"  # the environment's key of the route, for requests that Flask does not see
_ID_KEYS = tuple(f"HTTP_{name.upper().replace('-', '_')}" for name in ID_HEADERS)


class LogRequests:
    """WSGI middleware that records requests. It belongs inside TrustedProxies.

    The id of a request appears in all its log lines and in the reply.
    """

    def __init__(self, application: Any, request_log: RequestLog) -> None:
        self._application = application
        self._request_log = request_log

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application, then record the request's duration and status."""
        started = time.perf_counter()
        name = _received_id(environ) or self._request_log.next_id()
        request_id.set(name)  # not reset here: a streamed body is sent later, and may log as well
        status = 500  # if the application fails before it replies
        route = None

        def start(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status, route
            status = int(line[:3])
            # Read the rule now: Flask discards its request after the reply.
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            route = rule.rule if rule is not None else environ.get(ROUTE)
            return start_response(line, [*headers, (HEADER, name)], *exc_info)

        try:
            return self._application(environ, start)  # type: ignore[no-any-return]
        finally:
            self._request_log.record(
                environ.get("REMOTE_ADDR"),
                environ["REQUEST_METHOD"].upper(),
                get_path_info(environ),
                route,
                status,
                time.perf_counter() - started,
                name,
            )


def _received_id(environ: dict[str, Any]) -> str | None:
    if environ.get("loaner.trusted_proxy"):
        for key in _ID_KEYS:
            accepted = accept_id(environ.get(key, ""))
            if accepted:
                return accepted
    return None
