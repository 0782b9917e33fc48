"""Calls a WSGI application (PEP 3333) on behalf of an ASGI server.

A thread is used only while the application computes: it is given back while a reply is on the network, so that a slow
reader holds none.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from service.observability.metrics import OTHER
from service.observability.request_marks import RequestMarks, request_context
from service.web.door.bounded_pool import BoundedPool
from service.web.door.exchange import Exchange, ReplyHeaders
from service.web.door.forwarding import Origin
from service.web.door.framing import Headers, Scope

Application = Callable[..., Iterable[bytes]]
Environ = dict[str, Any]


class ReaderLeft(Exception):
    """The client closed the connection before the reply ended."""


def build_environ(scope: Scope, headers: Headers, origin: Origin, body: bytes) -> Environ:
    """Return the WSGI environment of a request. It contains nothing of the environment of the process."""
    server, port = scope["server"] or ("", "")
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": origin.prefix,
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REMOTE_ADDR": origin.address,
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": origin.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        if name not in (b"transfer-encoding", b"content-length"):  # the body has been decoded
            environ[f"HTTP_{name.decode('latin-1').replace('-', '_').upper()}"] = value.decode("latin-1")
    if origin.host is not None:
        environ["HTTP_HOST"] = origin.host.decode("latin-1")
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    return environ


class _Call:
    """A call of the application. Its methods run in threads, one at a time, in the context of the request."""

    def __init__(self, application: Application, environ: Environ, marks: RequestMarks) -> None:
        self._application = application
        self._environ = environ
        self._context = request_context(marks)
        self.route = OTHER
        self.status = 500
        self.headers: ReplyHeaders = []

    def start(self) -> tuple[bytes, bool]:
        """Call the application. Return the first part of the body, and whether it is the whole body."""
        return self._context.run(self._start)

    def next_part(self) -> bytes | None:
        """Return the next part of the body; None at its end."""
        return self._context.run(next, self._parts, None)

    def close(self) -> None:
        """End the application's part of the call."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)

    def _start(self) -> tuple[bytes, bool]:
        self._body = self._application(self._environ, self._start_response)
        is_whole = True
        try:
            self._parts = iter(self._body)
            first = next(self._parts, b"")
            length = dict(self.headers).get(b"content-length")
            is_whole = not first or (length == b"%d" % len(first) and next(self._parts, None) is None)
            return first, is_whole
        finally:
            if is_whole:
                close = getattr(self._body, "close", None)
                if close is not None:
                    close()

    def _start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> None:
        # Read the rule now: Flask discards its request after the reply.
        rule = getattr(self._environ.get("werkzeug.request"), "url_rule", None)
        self.route = OTHER if rule is None else rule.rule
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


class WsgiBridge:
    """Answers requests by a WSGI application.

    Args:
        application: The application. It must not use the function that PEP 3333 calls `write`.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def respond(self, environ: Environ, exchange: Exchange, pool: BoundedPool | None) -> None:
        """Answer a request.

        Args:
            environ: The WSGI environment of the request.
            exchange: The request.
            pool: Where the application runs; None for the event loop, for calls that do not wait.

        Raises:
            ServiceBusy: If the queue of the pool is full.
            ReaderLeft: If the client leaves before the reply ends.
            Exception: Any error of the application.
        """
        call = _Call(self._application, environ, exchange)
        try:
            first, is_whole = call.start() if pool is None else await pool.run(call.start)
        finally:
            exchange.route = call.route
        if is_whole:
            await exchange.send(call.status, call.headers, first)
        else:
            assert pool is not None
            await _stream(call, first, exchange, pool)


async def _stream(call: _Call, first: bytes, exchange: Exchange, pool: BoundedPool) -> None:
    left = asyncio.ensure_future(exchange.wait_until_left())
    part: bytes | None = first
    try:
        await exchange.start(call.status, call.headers)
        while part is not None:
            await exchange.send_part(part)
            if left.done():  # the server does not report it to `send`
                raise ReaderLeft
            part = await pool.run(call.next_part, is_admitted=True)
    finally:
        left.cancel()
        await pool.run(call.close, is_admitted=True)
    await exchange.end()
