"""One request, and what has been replied to it."""

from collections.abc import Awaitable, Callable
from typing import Any

from flask import Response

from service.observability.metrics import OTHER
from service.observability.request_marks import RequestMarks, request_context
from service.web.door.forwarding import Origin

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ReplyHeaders = list[tuple[bytes, bytes]]


class Exchange(RequestMarks):
    """A request and its reply.

    Args:
        receive: Receives the parts of the body, and reports when the client leaves.
        send: Sends the parts of the reply.
        name: The id of the request, for the log and the reply.
    """

    __slots__ = ("_send", "origin", "receive", "route", "status")

    def __init__(self, receive: Receive, send: Send, name: str) -> None:
        RequestMarks.__init__(self, name)  # super() takes longer
        self.receive = receive
        self._send = send
        self.origin: Origin | None = None  # until the request is admitted
        self.route = OTHER
        self.status = 0  # until the reply begins

    async def send(self, status: int, headers: ReplyHeaders, body: bytes) -> None:
        """Send a whole reply."""
        self.status = status
        headers.append((b"x-request-id", self.id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def send_response(self, response: Response, closes: bool = False) -> None:
        """Send a response of the framework.

        Args:
            response: The response; its body is complete.
            closes: Whether the server closes the connection afterwards.
        """
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
        await self.send(response.status_code, [*headers, (b"connection", b"close")] if closes else headers,
                        response.get_data())  # fmt: skip

    async def start(self, status: int, headers: ReplyHeaders) -> None:
        """Send the head of a reply whose parts follow."""
        self.status = status
        headers.append((b"x-request-id", self.id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_part(self, part: bytes) -> None:
        """Send a part of the body; more follow. Waits until the client has taken most of the earlier ones."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        """End the reply."""
        await self._send({"type": "http.response.body", "body": b""})

    async def wait_until_left(self) -> None:
        """Wait until the client leaves. The body must have been read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function whose log lines carry the id of the request."""
        return request_context(self).run(function, *arguments)
