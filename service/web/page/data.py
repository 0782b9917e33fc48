"""The data of the page's views, as JSON and CSV.

The API's own views reply, at their own addresses below the page: the cookie is accepted there, and not by the API.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState

from service.web.page.paths import PAGE

API = "/api/v1/"


def add_data_routes(routes: Blueprint, source: str) -> None:
    """Add the routes to the page's blueprint, when that is registered.

    Args:
        routes: The page's blueprint.
        source: The blueprint that reads loans. It must be registered before.
    """

    def add(state: BlueprintSetupState) -> None:
        for rule in list(state.app.url_map.iter_rules()):
            blueprint, _, name = rule.endpoint.rpartition(".")
            if blueprint == source and rule.rule.startswith(API) and "GET" in (rule.methods or ()):
                view = state.app.view_functions[rule.endpoint]
                state.add_url_rule(f"{PAGE}{rule.rule}", f"data_{name}", _not_stored(view), methods=["GET"])

    routes.record(add)


def _not_stored(view: Callable[..., Any]) -> Callable[..., Response]:
    """Return a view whose reply no cache keeps."""

    @wraps(view)
    def not_stored(**values: Any) -> Response:
        response: Response = view(**values)
        response.headers["Cache-Control"] = "no-store"
        return response

    return not_stored
