"""The lower bound of the cost of a reply with Flask: a route of fixed bytes on the WSGI interface.

It shares nothing with the service but the HTTP server, so that it stays the same while the service changes.
"""

from functools import partial
from typing import Any

from flask import Flask, Response
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server

from service.settings import Settings


def serve(settings: Settings, path: str, body: bytes) -> None:
    """Serve one path with a fixed body until SIGTERM."""
    server: Any = Server(
        "bare",
        address=settings.server.listen_host,
        port=settings.server.port,
        interface=Interfaces.WSGI,
        workers=settings.server.workers,
        blocking_threads=settings.server.threads,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
    )
    server.serve(target_loader=partial(_create_app, path, body), wrap_loader=False)


def _create_app(path: str, body: bytes) -> Flask:
    app = Flask("bare")

    @app.get(path)
    def balance() -> Response:
        return Response(body, content_type="application/json")

    return app
