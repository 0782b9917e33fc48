"""Strict parsing of requests: ambiguous ones are rejected."""

import json
from collections.abc import Callable
from functools import cache, cached_property
from inspect import signature
from typing import Any, TypeVar

import orjson
from flask import Flask, Request, request
from werkzeug.datastructures import Authorization, MultiDict
from werkzeug.exceptions import UnsupportedMediaType

from security.strict_json import reject_duplicate_names
from service.errors import InvalidRequest

View = TypeVar("View", bound=Callable[..., Any])


class StrictRequest(Request):
    """Flask's request, with stricter parsing, for every route."""

    @cached_property
    def authorization(self) -> Authorization | None:
        """The credentials; None if the header is missing or not ASCII, which Werkzeug fails to parse."""
        return super().authorization if self.headers.get("Authorization", "").isascii() else None

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The query parameters.

        Raises:
            InvalidRequest: If a parameter is repeated.
        """
        found = super().args
        repeated = [name for name, values in found.lists() if len(values) > 1]
        if repeated:
            raise InvalidRequest([(name, "duplicate parameter") for name in repeated])
        return found

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> dict[str, Any]:
        """Return the JSON object in the body. An invalid body is always an error, even with `force` or `silent`.

        Raises:
            UnsupportedMediaType: If the body is not uncompressed application/json.
            InvalidRequest: If the body is not JSON (RFC 8259) or not an object, or if it repeats a member name.
        """
        if self.mimetype != "application/json" or self.headers.get("Content-Encoding", "identity") != "identity":
            raise UnsupportedMediaType("expected an uncompressed application/json body")
        body = self.get_data(cache=cache)
        try:
            orjson.loads(body)  # rejects NaN, unpaired surrogates and encodings that the standard library accepts
            found = json.loads(body, object_pairs_hook=reject_duplicate_names)
        except (ValueError, RecursionError) as err:
            reason = f"line {err.lineno}: {err.msg}" if isinstance(err, json.JSONDecodeError) else str(err)
            raise InvalidRequest([("body", f"expected JSON ({reason})")]) from None
        if not isinstance(found, dict):
            raise InvalidRequest([("body", "expected a JSON object")])
        return found


def ignores_query(view: View) -> View:
    """Mark a view whose query parameters are ignored, because its specification requires that."""
    view.ignores_query = True  # type: ignore[attr-defined]
    return view


def reject_unknown_parameters(app: Flask) -> None:
    """Reject query parameters that a view does not declare, for every view of an application.

    A view declares them as the fields of its argument `query`. One without that argument has none.
    """

    @cache
    def declared(endpoint: str) -> frozenset[str] | None:
        view = app.view_functions[endpoint]
        if getattr(view, "ignores_query", False):
            return None
        query = signature(view).parameters.get("query")
        fields = query.annotation.model_fields if query is not None else {}
        return frozenset(field.alias or name for name, field in fields.items())

    @app.before_request
    def check_query() -> None:
        if request.endpoint is None or request.method == "OPTIONS" or not request.query_string:
            return  # the framework replies: 404, 405 or the allowed methods
        known = declared(request.endpoint)
        if known is not None and (unknown := [name for name in request.args if name not in known]):
            raise InvalidRequest([(name, "unknown parameter") for name in unknown])
