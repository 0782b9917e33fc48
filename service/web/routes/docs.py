"""Routes: the OpenAPI document, and Swagger UI from installed files, so it works offline."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from flask_openapi3 import OpenAPI
from flask_openapi3.utils import parse_rule
from werkzeug.wrappers import Response as AnyResponse

from service.web.access import access_responses, required_scopes
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply
from service.web.security_schemes import describe_requirement, describe_schemes

# Where people look for the documentation. These paths redirect to it.
PAGE_ALIASES = (
    "/api", "/docs", "/redoc", "/swagger", "/swagger-ui", "/swagger/index.html", "/swagger-ui/index.html",
    "/api/docs", "/api/v1/docs", "/api/v1/swagger",
)  # fmt: skip
DOCUMENT_ALIASES = ("/openapi.json", "/swagger.json", "/api/openapi.json", "/v3/api-docs")


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


def build_documentation_routes(
    app: OpenAPI, open_blueprints: tuple[str, ...], issues_tokens: Callable[[], bool], page_path: str | None
) -> Blueprint:
    """Build the blueprint `documentation`, which describes all routes of an application.

    Args:
        app: The application.
        open_blueprints: Blueprints whose views are public.
        issues_tokens: Returns whether this service issues tokens now.
        page_path: Where `/` leads a browser; None without the page for people.
    """
    routes = Blueprint("documentation", __name__, static_folder=_swagger_ui(), static_url_path="/api/v1/swagger")

    def to_documentation() -> AnyResponse:
        return redirect(f"{request.script_root}/api/v1")

    for place in PAGE_ALIASES:
        routes.get(place, strict_slashes=False)(to_documentation)

    @routes.get("/")
    def home() -> AnyResponse:
        is_browser = "text/html" in request.accept_mimetypes.values()  # programs accept */*
        leads_to_page = page_path is not None and is_browser
        response = redirect(f"{request.script_root}{page_path}") if leads_to_page else to_documentation()
        response.vary.add("Accept")
        return response

    def to_document() -> AnyResponse:
        return redirect(f"{request.script_root}/api/v1/openapi.json")

    for place in DOCUMENT_ALIASES:
        routes.get(place)(to_document)

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
        issuing = issues_tokens()
        members = api_document(issuing)
        schemes = describe_schemes(request.script_root, issuing)
        return json_reply(
            {
                **members,
                "servers": [{"url": request.script_root or "/"}],
                "components": {**members["components"], "securitySchemes": schemes},
            }
        )

    @cache
    def api_document(issuing: bool) -> dict[str, Any]:
        return _build_document(app, open_blueprints, issuing)

    return routes


def _build_document(app: OpenAPI, open_blueprints: tuple[str, ...], issuing: bool) -> dict[str, Any]:
    """Return the framework's document with access rules, and without its additions that do not apply."""
    document: dict[str, Any] = deepcopy(app.api_doc)
    endpoints = {
        (method, parse_rule(rule.rule)): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            endpoint = endpoints[method.upper(), path]
            # The framework's own documentation of 400 has another media type. Every route rejects unknown parameters.
            declared = getattr(app.paths[path], method).responses
            responses = {str(status): reply for status, reply in problems(400).items()}
            responses |= {status: reply for status, reply in operation["responses"].items() if status in declared}
            access = access_responses(app, endpoint, open_blueprints)
            responses |= {str(status): reply for status, reply in access.items()}
            # The framework converts line breaks of docstrings to <br/>.
            description = operation["description"].replace("<br/><br/>", "\n\n").replace("<br/>", " ")
            operation |= {"description": description, "responses": dict(sorted(responses.items()))}
            scopes = required_scopes(app, endpoint, open_blueprints)
            if scopes is not None:
                operation["security"] = describe_requirement(scopes, issuing)
    return document
