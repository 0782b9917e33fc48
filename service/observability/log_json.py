"""Lines of the log as JSON: one object a line, described in docs/reference/logs.md."""

import json
import time
from functools import lru_cache
from typing import Any

import orjson


def format_line(
    created: float, level: str, logger: str, message: str, request_id: str = "", trace_id: str = "", **members: Any
) -> str:
    """Return a line of the log.

    Args:
        created: The Unix time.
        level: The level's name.
        logger: The logger's name.
        message: The message.
        request_id: The id of the request that the line belongs to; empty for other lines.
        trace_id: The id of its trace; empty without one.
        members: More members. Empty ones are left out.
    """
    line: dict[str, Any] = {"time": _format_time(created), "level": level, "logger": logger, "message": message}
    if request_id:
        line["request_id"] = request_id
    if trace_id:
        line["trace_id"] = trace_id
    for name, value in members.items():
        if value != "":
            line[name] = value
    try:
        return orjson.dumps(line).decode()
    except TypeError:  # a text that is not Unicode, such as the name of a file
        return json.dumps(line, default=str)


def _format_time(created: float) -> str:
    """Return a time as in RFC 3339, in UTC, with milliseconds."""
    second = int(created)
    return f"{_format_second(second)}.{int((created - second) * 1000):03d}Z"


@lru_cache(8)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
