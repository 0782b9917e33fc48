"""Which routes need a token. All of them do, with the scope `api:read`, unless they are marked otherwise."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, Response, request

from security.frameworks.flask import Security
from service.web.error_handlers import reply
from service.web.schemas.problem import problems

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


def scopes_needed(app: Flask, endpoint: str, open_blueprints: tuple[str, ...]) -> tuple[str, ...] | None:
    """The scopes of the token without which nobody sees this view; None: it takes no token. The rest as for `guard`."""
    if _access(app, endpoint) != "secured" or endpoint.rpartition(".")[0] in open_blueprints:
        return None
    return getattr(app.view_functions[endpoint], "scopes", (READ,))


def admission(app: Flask, endpoint: str, open_blueprints: tuple[str, ...]) -> dict[str, Any]:
    """What the document says of who may see a view: the `security` and the refusals of its operation."""
    scopes = scopes_needed(app, endpoint, open_blueprints)
    if scopes is not None:
        return {"security": [{"bearer": [*scopes]}], "responses": problems(401, 403)}
    return {"responses": problems(404) if _access(app, endpoint) == "internal" else {}}


def guard(app: Flask, security: Security, open_blueprints: tuple[str, ...] = ()) -> None:
    """Ask the security chain before any request is parsed. open_blueprints: their views count as public."""

    @app.before_request
    def check() -> Response | None:
        if request.url_rule is None or request.method == "OPTIONS":
            return None  # 404, 405, or what methods there are
        assert request.endpoint is not None  # of a rule
        if _forwarded() and _access(app, request.endpoint) == "internal":
            return reply(404, "not found")
        scopes = scopes_needed(app, request.endpoint, open_blueprints)
        return None if scopes is None else security.check(scopes)[1]


def _access(app: Flask, endpoint: str) -> str:
    return getattr(app.view_functions[endpoint], "access", "secured")


def _forwarded() -> bool:
    # Every proxy that we stand behind adds one of these, and no client can take it away again.
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers or "Via" in request.headers
