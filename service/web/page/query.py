"""Query parameters of the page's views. Forms send every field, so one that is empty counts as not given."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from flask import Response, request
from pydantic import ValidationError

from service.web.error_handlers import to_invalid_request
from service.web.schemas.common import Query

Model = TypeVar("Model", bound=Query)


class PageQuery(Query):
    """Query parameters of a view."""


def parse_query(model: type[Model]) -> Model:
    """Return the query parameters of the current request.

    Raises:
        InvalidRequest: If one is invalid or unknown.
    """
    try:
        return model.model_validate(_given())
    except ValidationError as err:
        raise to_invalid_request(err) from None


def parse_valid_query(model: type[Model]) -> tuple[Model, dict[str, str]]:
    """Return the valid query parameters of the current request, and what is wrong with each of the others."""
    given = _given()
    try:
        return model.model_validate(given), {}
    except ValidationError as err:
        errors = dict(to_invalid_request(err).errors)
        return model.model_validate({name: value for name, value in given.items() if name not in errors}), errors


def parses_query(view: Callable[..., Response]) -> Callable[..., Response]:
    """Call a view with its query parameters, as its argument `query` declares them.

    A view with an argument `errors` gets the valid parameters there, and what is wrong with the others here. Without
    it, an invalid parameter is an error.
    """
    parameters = signature(view).parameters
    model = parameters["query"].annotation

    @wraps(view)
    def parsed(**path: Any) -> Response:
        if "errors" not in parameters:
            return view(**path, query=parse_query(model))
        query, errors = parse_valid_query(model)
        return view(**path, query=query, errors=errors)

    return parsed


def _given() -> dict[str, str]:
    return {name: value.strip() for name, value in request.args.items() if value.strip()}
