"""Calls a WSGI application (PEP 3333) on behalf of an ASGI server.

A thread is used only while the application computes: it is given back while a reply is on the network, so that a slow
reader holds none.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from contextvars import copy_context
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from service.observability.logging import request_id
from service.observability.metrics import OTHER
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


class Call:
    """A call of the application. Its methods run in threads, one at a time, in the context of the request."""

    def __init__(self, application: Application, environ: Environ, name: str) -> None:
        self._application = application
        self._environ = environ
        self._context = copy_context()
        self._context.run(request_id.set, name)
        self.route = OTHER
        self.status = 500
        self.headers: ReplyHeaders = []
        self.first = b""  # part of the reply's body
        self.is_whole = True  # whether that is the whole body

    def start(self) -> None:
        """Call the application, and close the request's body: no application reads it after the reply has begun."""
        try:
            self._context.run(self._start)
        finally:
            self._environ["wsgi.input"].close()

    def next_part(self) -> bytes | None:
        """Return the next part of the body; None at its end."""
        return self._context.run(next, self._parts, None)

    def close(self) -> None:
        """End the application's part of the call."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)

    def _start(self) -> None:
        self._body = self._application(self._environ, self._start_response)
        try:
            self._parts = filter(None, self._body)  # an empty part says nothing about the end (PEP 3333)
            self.first = next(self._parts, b"")
            length = dict(self.headers).get(b"content-length")
            self.is_whole = not self.first or (length == b"%d" % len(self.first) and next(self._parts, None) is None)
        finally:
            if self.is_whole:
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

    async def start(self, environ: Environ, exchange: Exchange, pool: BoundedPool | None) -> Call:
        """Call the application for a request, until the first part of its reply.

        Args:
            environ: The WSGI environment of the request.
            exchange: The request.
            pool: Where the application runs; None for the event loop, for calls that do not wait.

        Returns:
            The call, which `reply` must follow.

        Raises:
            ServiceBusy: If the queue of the pool is full.
            Exception: Any error of the application.
        """
        call = Call(self._application, environ, exchange.id)
        try:
            if pool is None:
                call.start()
            else:
                await pool.run(call.start)
        finally:
            exchange.route = call.route
        return call

    async def reply(self, call: Call, exchange: Exchange, pool: BoundedPool | None) -> None:
        """Send the reply of a call.

        Args:
            call: The call.
            exchange: Its request.
            pool: Where the application continues. It must be that of `start`.

        Raises:
            ReaderLeft: If the client leaves before the reply ends.
            Exception: Any error of the application.
        """
        if call.is_whole:
            await exchange.send(call.status, call.headers, call.first)
        else:
            assert pool is not None
            await _stream(call, exchange, pool)


async def _stream(call: Call, exchange: Exchange, pool: BoundedPool) -> None:
    left = asyncio.ensure_future(exchange.wait_until_left())
    part: bytes | None = call.first
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
