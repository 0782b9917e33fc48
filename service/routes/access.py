"""Which routes need a token. All of them do, with the scope `api:read`, unless they are marked otherwise."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, Response, request

from security.flask_security import Security
from service.problem import reply

View = TypeVar("View", bound=Callable[..., Any])

READ = "api:read"
WRITE = "api:write"


def public(view: View) -> View:
    """Mark a view as open to everyone."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def internal(view: View) -> View:
    """Mark a view as open, but only to whoever asks the service itself: through a gateway it does not exist."""
    view.access = "internal"  # type: ignore[attr-defined]
    return view


def needs(*scopes: str) -> Callable[[View], View]:
    """Mark a view as one that needs a token with these scopes in place of `api:read`."""

    def mark(view: View) -> View:
        view.scopes = scopes  # type: ignore[attr-defined]
        return view

    return mark


def guard(app: Flask, security: Security, open_blueprints: tuple[str, ...] = ()) -> None:
    """Ask the security chain before any request is parsed. open_blueprints: their views count as public."""

    @app.before_request
    def check() -> Response | None:
        if request.url_rule is None or request.method == "OPTIONS":
            return None  # 404, 405, or what methods there are
        view = app.view_functions.get(request.endpoint or "")
        access = getattr(view, "access", "secured")
        if access == "internal" and _forwarded():
            return reply(404, "not found")
        if access != "secured" or request.blueprint in open_blueprints:
            return None
        _, refusal = security.check(scopes=getattr(view, "scopes", (READ,)))
        return refusal


def _forwarded() -> bool:
    # Every proxy that we stand behind adds one of these, and no client can take it away again.
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers or "Via" in request.headers
