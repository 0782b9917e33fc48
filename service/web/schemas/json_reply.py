"""A reply in JSON."""

from typing import Any

import orjson
from flask import Response


def json_reply(members: dict[str, Any], status: int = 200) -> Response:
    """members: what orjson can write; amounts are strings already."""
    return Response(orjson.dumps(members), status, content_type="application/json")
