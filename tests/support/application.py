"""An application in this process: its front door, driven without a server."""

import asyncio
import threading
from collections.abc import Iterator
from functools import cache
from queue import SimpleQueue
from typing import Any
from urllib.parse import quote_from_bytes

from werkzeug.test import Client

from service.runtime.bootstrap import build_front_door
from service.web.front_door import FrontDoor


@cache
def _event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="front-door", daemon=True).start()
    return loop


class Application:
    """A WSGI application, for test clients, that passes each request through a front door as the server would."""

    def __init__(self, door: FrontDoor) -> None:
        self.door = door

    def test_client(self) -> Client:
        """Return a client of the application."""
        return Client(self)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        sent: SimpleQueue = SimpleQueue()  # messages, then the error or None
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        task = asyncio.run_coroutine_threadsafe(self._run(scope_of(environ), body, sent), _event_loop())
        head = sent.get()
        if isinstance(head, BaseException):
            raise head
        headers = [(name.decode(), value.decode("latin-1")) for name, value in head["headers"]]
        start_response(f"{head['status']} -", headers)
        return _parts(sent, task)

    async def _run(self, scope: dict[str, Any], body: bytes, sent: SimpleQueue) -> None:
        parts = [{"type": "http.request", "body": body, "more_body": False}]
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        more = True

        async def send(message: dict[str, Any]) -> None:
            nonlocal more
            more = message.get("more_body", message["type"] == "http.response.start")
            sent.put(message)

        try:
            await self.door(scope, receive, send)
            sent.put(ConnectionError("the reply is not whole") if more else None)
        except asyncio.CancelledError:
            sent.put(None)
            raise
        except BaseException as err:
            sent.put(err)


def _parts(sent: SimpleQueue, task: Any) -> Iterator[bytes]:
    try:
        while (message := sent.get()) is not None:
            if isinstance(message, BaseException):
                raise message
            if not message.get("more_body"):  # the door records a request after its last part
                end = sent.get()
                if end is not None:
                    raise end
                yield message["body"]
                return
            yield message["body"]
    finally:
        task.cancel()


def scope_of(environ: dict[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of a WSGI environment."""
    path = environ["PATH_INFO"].encode("latin-1")
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name) and (name, environ[name]) != ("CONTENT_LENGTH", "0"):
            headers.append((name.replace("_", "-").lower().encode(), environ[name].encode("latin-1")))
    return {
        "type": "http",
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": path.decode("utf-8", "replace"),
        "raw_path": quote_from_bytes(path, safe="/:@!$&'()*+,;=~").encode(),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": headers,
        "client": (environ.get("REMOTE_ADDR", "127.0.0.1"), "1"),
        "server": (environ["SERVER_NAME"], environ["SERVER_PORT"]),
    }


def build_app(*arguments: Any, **options: Any) -> Application:
    """Build a front door, and return it as an application."""
    return Application(build_front_door(*arguments, **options))
