"""What a mistaken request should have been, for the `detail` of problem documents."""

import re
from collections.abc import Iterable

from flask import request

from service.web.near_miss import are_valid, find_near_miss

_SPLIT_DATE = re.compile(r"/[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}/?$")


def advise_on_path() -> str:
    """Return what may have been meant by the path of the current request, and where the documentation is."""
    documentation = f"the documentation is at {request.script_root}/api/v1"
    if _SPLIT_DATE.search(request.path):
        return f"a date is written YYYY-MM-DD, without slashes; {documentation}"
    near = find_near_miss(request.path, request.method)
    return f"did you mean {near}? The{documentation[3:]}" if near else documentation


def advise_on_values() -> str | None:
    """Return what may have been meant by the path of the current request, if its id or its date is none."""
    values = request.view_args or {}
    if are_valid(values) or (near := find_near_miss(request.path, request.method)) is None:
        return None
    return f"did you mean {near}?"


def advise_on_method(allowed: Iterable[str]) -> str:
    """Return which methods the current path has, and where its method leads.

    Args:
        allowed: The methods. HEAD and OPTIONS, which exist beside others, are not named.
    """
    names = sorted({*allowed} - {"HEAD", "OPTIONS"})
    near = find_near_miss(request.path, request.method)
    other = f", or {near}" if near and near.startswith(f"{request.method} ") else ""
    return f"expected {' or '.join(names)}{other}; the documentation is at {request.script_root}/api/v1"


def advise_on_token(issues_tokens: bool) -> str:
    """Return how a request is authorized, for one that has no token.

    Args:
        issues_tokens: Whether this service issues tokens.
    """
    root = request.script_root
    source = f"POST {root}/token issues tokens to clients; " if issues_tokens else ""
    near = advise_on_values()
    return f"send the header `Authorization: Bearer TOKEN`; {source}the documentation is at {root}/api/v1" + (
        f" ({near})" if near else ""
    )
