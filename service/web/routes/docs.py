"""Routes: the OpenAPI document, and Swagger UI from installed files, so it works offline."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from flask_openapi3 import OpenAPI
from flask_openapi3.utils import parse_rule
from werkzeug.wrappers import Response as AnyResponse

from service.web.access import document_access
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply


def _swagger_ui() -> Path:
    spec = find_spec("flask_openapi3_swagger")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "templates" / "swagger"


def _content_security_policy(nonce: str) -> str:
    """Return the policy of the page: it loads and calls only this service, and runs only its own scripts."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    )


def build_documentation_routes(app: OpenAPI, open_blueprints: tuple[str, ...]) -> Blueprint:
    """Build the blueprint `documentation`, which describes all routes of an application.

    Args:
        app: The application.
        open_blueprints: Blueprints whose views are public.
    """
    routes = Blueprint("documentation", __name__, static_folder=_swagger_ui(), static_url_path="/api/v1/swagger")

    @routes.get("/")
    @routes.get("/api", strict_slashes=False)
    def home() -> AnyResponse:
        return redirect(f"{request.script_root}/api/v1")

    @routes.get("/api/v1", strict_slashes=False)
    def page() -> Response:
        nonce = token_urlsafe(16)
        text = render_template("documentation.html", base=f"{request.script_root}/api/v1/", nonce=nonce)
        response = Response(text)
        response.headers["Content-Security-Policy"] = _content_security_policy(nonce)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @routes.get("/api/v1/openapi.json")
    def document() -> Response:
        return json_reply({**api_document(), "servers": [{"url": request.script_root or "/"}]})

    @cache
    def api_document() -> dict[str, Any]:
        return _build_document(app, open_blueprints)

    return routes


def _build_document(app: OpenAPI, open_blueprints: tuple[str, ...]) -> dict[str, Any]:
    """Return the framework's document with access rules, and without its additions that do not apply."""
    document = app.api_doc
    endpoints = {
        (method, parse_rule(rule.rule)): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            access = document_access(app, endpoints[method.upper(), path], open_blueprints)
            # The framework's own documentation of 400 has another media type. Every route rejects unknown parameters.
            declared = getattr(app.paths[path], method).responses
            responses = {str(status): reply for status, reply in problems(400).items()}
            responses |= {status: reply for status, reply in operation["responses"].items() if status in declared}
            responses |= {str(status): reply for status, reply in access.pop("responses").items()}
            # The framework converts line breaks of docstrings to <br/>.
            description = operation["description"].replace("<br/><br/>", "\n\n").replace("<br/>", " ")
            operation |= {
                "description": description, "responses": dict(sorted(responses.items())), **access,
            }  # fmt: skip
    return document
