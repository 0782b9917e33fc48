"""Query parameters of the page's views. Forms send every field, so one that is empty counts as not given."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from flask import Response, request
from pydantic import ValidationError

from service.web.error_handlers import to_invalid_request
from service.web.schemas.common import Query

Model = TypeVar("Model", bound="PageQuery")


class PageQuery(Query):
    """Query parameters of a view."""


def parse_query(model: type[Model]) -> Model:
    """Return the query parameters of the current request.

    Raises:
        InvalidRequest: If one is invalid or unknown.
    """
    given = {name: value.strip() for name, value in request.args.items() if value.strip()}
    try:
        return model.model_validate(given)
    except ValidationError as err:
        raise to_invalid_request(err) from None


def parses_query(view: Callable[..., Response]) -> Callable[..., Response]:
    """Call a view with its query parameters, as its argument `query` declares them."""
    model = signature(view).parameters["query"].annotation

    @wraps(view)
    def parsed(**path: Any) -> Response:
        return view(**path, query=parse_query(model))

    return parsed
