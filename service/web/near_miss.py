"""Finds the route that a mistaken request was probably meant for, by rewriting its path until it matches one."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice, product

from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from service.domain.parsing import parse_date, parse_loan_id

_PLAIN = re.compile(r"/[A-Za-z0-9._/-]{0,200}")  # anything else is not repeated in a reply
_SPLIT_DAY = re.compile(r"/([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})(?=/|$)")
_WRITTEN_DAY = re.compile(r"([0-9]{4})[-._]?([0-9]{1,2})[-._]?([0-9]{1,2})")
_MAX_TRIES = 60  # which takes a millisecond
_LOAN_WORDS = ("loan", "loans")
# What people write, and what the routes have instead; an empty text leaves the part out.
_SYNONYMS = {
    "loan": _LOAN_WORDS, "loans": _LOAN_WORDS,
    "balance": ("balances", "loan", ""), "balances": ("balances", "loan", ""),
    "portfolios": ("portfolio",), "book": ("portfolio",),
    "event": ("events",), "transactions": ("events",), "payments": ("events",),
    "statements": ("statement",), "histories": ("history",), "balance-history": ("history",),
    "health": ("healthcheck",), "healthz": ("healthcheck",), "live": ("healthcheck",), "livez": ("healthcheck",),
    "ping": ("healthcheck",), "readyz": ("ready",), "readiness": ("ready",), "info": ("version",),
    "oauth": ("", "token"), "oauth2": ("", "token"), "auth": ("", "token"), "login": ("token",), "tokens": ("token",),
    "authorize": ("token",),
    "jwks": (".well-known/jwks.json",), "jwks.json": (".well-known/jwks.json",), ".well-known": ("",),
}  # fmt: skip


def find_near_miss(path: str, method: str) -> str | None:
    """Return the method and the path of the request that was probably meant; None if nothing is near.

    Args:
        path: The path that was requested, without the prefix of a gateway.
        method: The method that was used.
    """
    if not _PLAIN.fullmatch(path):
        return None
    candidates = [each for each in islice(_candidates(path), _MAX_TRIES) if each != path]
    for match in (_match, _match_other_method):
        for candidate in candidates:
            if found := match(candidate, method):
                return f"{found} {request_ctx.request.script_root}{candidate}"
    return None


def _candidates(path: str) -> Iterator[str]:
    """Generate what could have been meant, the nearest first."""
    words = [word for word in _SPLIT_DAY.sub(_joined_day, path).split("/") if word]
    if len(words) > 6:
        return
    yield "/" + "/".join(words)  # without a slash at the end, and without empty parts
    plain = [word.lower() for word in words]
    while plain and (plain[0] == "api" or re.fullmatch(r"v[0-9]", plain[0])):
        del plain[0]
    for chosen in product(*(_spellings(word) for word in plain)):
        rest = "/".join(word for word in chosen if word)
        if not rest:
            continue
        yield f"/api/v1/{rest}"
        yield f"/{rest}"
        yield f"/api/v1/loan/{rest}"


def _spellings(word: str) -> tuple[str, ...]:
    day = _WRITTEN_DAY.fullmatch(word)
    if day is not None:
        return word, _joined_day(day)[1:]
    return (word, *(each for each in _SYNONYMS.get(word, ()) if each != word))


def _joined_day(day: re.Match[str]) -> str:
    return f"/{day[1]}-{day[2]:0>2}-{day[3]:0>2}"


def _match(path: str, method: str) -> str | None:
    """Return the method if it leads to a route, with values that the route accepts."""
    adapter = request_ctx.url_adapter
    assert adapter is not None  # every request has one
    try:
        _, values = adapter.match(path, method)
    except (HTTPException, RequestRedirect):
        return None
    return method if are_valid(values) else None


def _match_other_method(path: str, _: str) -> str | None:
    return _match(path, "GET") or _match(path, "POST")


def are_valid(values: Mapping[str, str]) -> bool:
    """Return whether the variable parts of a path are a loan's id and a date that exists."""
    try:
        if "loan_id" in values:
            parse_loan_id(values["loan_id"])
        if "date" in values:
            parse_date(values["date"])
    except ValueError:
        return False
    # A file may not exist, and the page has a route for unknown paths.
    return values.keys().isdisjoint(("filename", "unknown"))
