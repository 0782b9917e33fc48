"""Access rules of the routes: a token with the scope `api:read`, unless a view is marked otherwise."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Flask, Response, request

from security.errors import REALM
from security.frameworks.flask import Security
from security.problem import MEDIA_TYPE
from service.observability.request_marks import note_caller
from service.web.advice import advise_on_token
from service.web.error_handlers import problem_response
from service.web.schemas.problem import problems

View = TypeVar("View", bound=Callable[..., Any])

READ = "api:read"
WRITE = "api:write"


def public(view: View) -> View:
    """Mark a view as public: it needs no token."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def internal(view: View) -> View:
    """Mark a view as internal: it needs no token, and is 404 for requests that come through a proxy."""
    view.access = "internal"  # type: ignore[attr-defined]
    return view


def requires_scope(*scopes: str) -> Callable[[View], View]:
    """Mark a view as one that requires a token with these scopes instead of `api:read`."""

    def decorate(view: View) -> View:
        view.scopes = scopes  # type: ignore[attr-defined]
        return view

    return decorate


def required_scopes(app: Flask, endpoint: str, open_blueprints: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the scopes that a token for a view must have.

    Args:
        app: The application.
        endpoint: The view's endpoint.
        open_blueprints: Blueprints whose views are public.

    Returns:
        The scopes; None if the view needs no token.
    """
    if _access(app, endpoint) != "secured" or endpoint.rpartition(".")[0] in open_blueprints:
        return None
    return getattr(app.view_functions[endpoint], "scopes", (READ,))


def access_responses(app: Flask, endpoint: str, open_blueprints: tuple[str, ...]) -> dict[int | str, Any]:
    """Return the documented responses of a view that depend on its access rules.

    Args:
        app: The application.
        endpoint: The view's endpoint.
        open_blueprints: Blueprints whose views are public.
    """
    if required_scopes(app, endpoint, open_blueprints) is not None:
        return problems(401, 403)
    return problems(404) if _access(app, endpoint) == "internal" else {}


def guard(
    app: Flask,
    security: Security,
    open_blueprints: tuple[str, ...],
    issues_tokens: Callable[[], bool],
    others: Mapping[str, Callable[[tuple[str, ...]], Response | None]],
) -> None:
    """Reject unauthorized requests before they are parsed.

    Args:
        app: The application.
        security: The chain of providers that authenticates callers.
        open_blueprints: Blueprints whose views are public.
        issues_tokens: Returns whether this service issues tokens now.
        others: How blueprints authenticate callers that do not send `Authorization`, by their names. Each gets the
            required scopes, and returns the reply to a request that it rejects.
    """

    @app.before_request
    def check_access() -> Response | None:
        if request.url_rule is None or request.method == "OPTIONS":
            return None  # the framework replies: 404, 405 or the allowed methods
        assert request.endpoint is not None  # every rule has one
        if _forwarded() and _access(app, request.endpoint) == "internal":
            return problem_response(404, "not found through a proxy; ask the instance itself")
        scopes = required_scopes(app, request.endpoint, open_blueprints)
        if scopes is None:
            return None
        other = others.get(request.blueprint or "")
        response = security.check(scopes)[1] if other is None else other(scopes)
        auth = security.context.get_auth()
        if auth is not None:
            note_caller(auth.user_id)
        if other is None and response is not None and _is_without_token(response):
            # The chain does not know where to get one.
            detail = f"{response.get_json()['detail']}; {advise_on_token(issues_tokens())}"
            response.set_data(problem_response(401, detail).get_data())
        return response


def _is_without_token(response: Response) -> bool:
    """Return whether a reply of the chain is its own challenge, without an error of a token (RFC 6750, section 3.1)."""
    challenge = f'Bearer realm="{REALM}"'
    return (
        response.status_code == 401
        and response.headers.get("WWW-Authenticate") == challenge
        and response.mimetype == MEDIA_TYPE
    )


def _access(app: Flask, endpoint: str) -> str:
    return getattr(app.view_functions[endpoint], "access", "secured")


def _forwarded() -> bool:
    # Every supported proxy adds one of these headers, and a client cannot remove it.
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers or "Via" in request.headers
