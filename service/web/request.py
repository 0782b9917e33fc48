"""Requests that are read strictly: one meaning or none."""

import json
from functools import cached_property
from typing import Any

import orjson
from flask import Request
from werkzeug.datastructures import Authorization, MultiDict
from werkzeug.exceptions import UnsupportedMediaType

from security.strict_json import reject_duplicate_names
from service.errors import InvalidRequest


class StrictRequest(Request):
    """Flask's request, for every route."""

    @cached_property
    def authorization(self) -> Authorization | None:
        """Who asks; None as well for what is no ASCII, and so is nobody: Werkzeug stumbles over it."""
        return super().authorization if self.headers.get("Authorization", "").isascii() else None

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The parameters of the query. Raises: InvalidRequest for one that is there twice."""
        found = super().args
        twice = [name for name, values in found.lists() if len(values) > 1]
        if twice:
            raise InvalidRequest([(name, "is there twice") for name in twice])
        return found

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> dict[str, Any]:
        """The object that the body is. There is no silence about what is wrong with it, whatever is asked for.

        Raises: UnsupportedMediaType; InvalidRequest for what is no JSON (RFC 8259) or no object, or has a member twice.
        """
        if self.mimetype != "application/json" or self.headers.get("Content-Encoding", "identity") != "identity":
            raise UnsupportedMediaType("expected a body of application/json, as it is: not compressed")
        body = self.get_data(cache=cache)
        try:
            orjson.loads(body)  # the standard library also takes NaN, half characters and other encodings
            found = json.loads(body, object_pairs_hook=reject_duplicate_names)
        except (ValueError, RecursionError) as err:
            said = f"line {err.lineno}: {err.msg}" if isinstance(err, json.JSONDecodeError) else str(err)
            raise InvalidRequest([("body", f"expected JSON ({said})")]) from None
        if not isinstance(found, dict):
            raise InvalidRequest([("body", "expected a JSON object")])
        return found
