"""The interactive documentation, from files that ship with the service's parts: it works offline."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from flask_openapi3 import OpenAPI
from flask_openapi3.utils import parse_rule
from werkzeug.wrappers import Response as AnyResponse

from service.web.access import admission
from service.web.schemas.replies import json_reply


def _swagger_ui() -> Path:
    spec = find_spec("flask_openapi3_swagger")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "templates" / "swagger"


def documentation_routes(app: OpenAPI, open_blueprints: tuple[str, ...]) -> Blueprint:
    """The blueprint `documentation` of everything that `app` offers; a new route appears by itself.

    open_blueprints: as for `guard`.
    """
    routes = Blueprint("documentation", __name__, static_folder=_swagger_ui(), static_url_path="/api/v1/swagger")

    @routes.get("/")
    def home() -> AnyResponse:
        return redirect(f"{request.script_root}/api/v1")

    @routes.get("/api/v1", strict_slashes=False)
    def page() -> str:
        return render_template("documentation.html", base=f"{request.script_root}/api/v1/")

    @routes.get("/api/v1/openapi.json")
    def document() -> Response:
        return json_reply({**described(), "servers": [{"url": request.script_root or "/"}]})

    @cache
    def described() -> dict[str, Any]:
        return _document(app, open_blueprints)

    return routes


def _document(app: OpenAPI, open_blueprints: tuple[str, ...]) -> dict[str, Any]:
    """The document: what the routes say of themselves, and who may see them."""
    document = app.api_doc
    endpoints = {
        (method, parse_rule(rule.rule)): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            admitted = admission(app, endpoints[method.upper(), path], open_blueprints)
            said = getattr(app.paths[path], method).responses  # the framework adds a 400, also where nothing is parsed
            refusals = {str(status): refusal for status, refusal in admitted.pop("responses").items()}
            replies = {status: reply for status, reply in operation["responses"].items() if status in said}
            # the framework takes the lines of a docstring for lines of the page
            description = operation["description"].replace("<br/><br/>", "\n\n").replace("<br/>", " ")
            operation |= {
                "description": description, "responses": dict(sorted((replies | refusals).items())), **admitted,
            }  # fmt: skip
    return document
