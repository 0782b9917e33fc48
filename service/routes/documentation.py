"""The interactive documentation, from files that ship with the service's parts: it works offline."""

from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, redirect, render_template, request
from flask_openapi3 import OpenAPI
from werkzeug.wrappers import Response as AnyResponse

from service.routes.json_reply import json_reply


def _swagger_ui() -> Path:
    spec = find_spec("flask_openapi3_swagger")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "templates" / "swagger"


def documentation_routes(app: OpenAPI) -> Blueprint:
    """The blueprint `documentation` of everything that `app` offers; a new route appears by itself."""
    routes = Blueprint("documentation", __name__, static_folder=_swagger_ui(), static_url_path="/api/v1/swagger")

    @routes.get("/")
    def home() -> AnyResponse:
        return redirect(f"{request.script_root}/api/v1")

    @routes.get("/api/v1", strict_slashes=False)
    def page() -> str:
        return render_template("documentation.html", base=f"{request.script_root}/api/v1/")

    @routes.get("/api/v1/openapi.json")
    def document() -> Response:
        return json_reply({**app.api_doc, "servers": [{"url": request.script_root or "/"}]})

    return routes
