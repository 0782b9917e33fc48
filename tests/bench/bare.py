"""The lower bound of the cost of a reply: a Flask route that returns fixed bytes, on the service's own HTTP server."""

from functools import partial

from flask import Flask, Response
from granian.constants import Interfaces

from service.runtime.server import build_server
from service.settings import Settings


def serve(settings: Settings, path: str, body: bytes) -> None:
    """Serve one path with a fixed body until SIGTERM."""
    build_server(settings.server, interface=Interfaces.WSGI).serve(
        target_loader=partial(_create_app, path, body), wrap_loader=False
    )


def _create_app(path: str, body: bytes) -> Flask:
    app = Flask("bare")

    @app.get(path)
    def balance() -> Response:
        return Response(body, content_type="application/json")

    return app
