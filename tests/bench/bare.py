"""The least that a reply costs: a Flask route of fixed bytes, behind the same server as the service."""

from functools import partial

from flask import Flask, Response

from service.runtime.server import new_server
from service.settings import Settings


def serve(settings: Settings, path: str, body: bytes) -> None:
    """Answer this one path with this body until SIGTERM."""
    new_server(settings.server).serve(target_loader=partial(_load, path, body), wrap_loader=False)


def _load(path: str, body: bytes) -> Flask:
    app = Flask("bare")

    @app.get(path)
    def balance() -> Response:
        return Response(body, content_type="application/json")

    return app
