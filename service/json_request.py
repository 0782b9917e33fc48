"""Requests whose JSON is read strictly: one meaning or none."""

import json
from typing import Any

import orjson
from flask import Request
from werkzeug.exceptions import UnsupportedMediaType

from security.unique_members import unique_members
from service.errors import InvalidRequest


class JsonRequest(Request):
    """Flask's request, for every route that takes JSON."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> dict[str, Any]:
        """The object that the body is. There is no silence about what is wrong with it, whatever is asked for.

        Raises: UnsupportedMediaType; InvalidRequest for what is no JSON (RFC 8259) or no object, or has a member twice.
        """
        if self.mimetype != "application/json":
            raise UnsupportedMediaType("expected a body of application/json")
        body = self.get_data(cache=cache)
        try:
            orjson.loads(body)  # the standard library also takes NaN, half characters and other encodings
            found = json.loads(body, object_pairs_hook=unique_members)
        except (ValueError, RecursionError) as err:
            said = f"line {err.lineno}: {err.msg}" if isinstance(err, json.JSONDecodeError) else str(err)
            raise InvalidRequest([("body", f"expected JSON ({said})")]) from None
        if not isinstance(found, dict):
            raise InvalidRequest([("body", "expected a JSON object")])
        return found
