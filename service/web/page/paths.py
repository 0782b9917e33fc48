"""The paths of the page, and which of them a sign-in may lead to."""

import re
from urllib.parse import parse_qs, quote, unquote

PAGE = "/app"
SIGN_IN = f"{PAGE}/sign-in"
SIGN_OUT = f"{PAGE}/sign-out"
STATIC = f"{PAGE}/static"
NUMBERS = f"{PAGE}/numbers"
MAX_NEXT_CHARS = 2000
# What a browser sends of a path and its query. It has no backslash, which browsers read as a slash, and no space.
_PLAIN = re.compile(r"/app(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_NO_DESTINATIONS = (SIGN_IN, SIGN_OUT, STATIC, NUMBERS)


def is_page_path(path: str) -> bool:
    """Return whether a path, without the prefix of a gateway, belongs to the page."""
    return path == PAGE or path.startswith(f"{PAGE}/")


def safe_next(text: str) -> str:
    """Return where a sign-in leads: the requested path if it is a view of the page, otherwise the start.

    Args:
        text: A path with its query, without the prefix of a gateway. Anybody may have written it.
    """
    if len(text) > MAX_NEXT_CHARS or not _PLAIN.fullmatch(text):
        return PAGE
    path = unquote(text.partition("?")[0])
    if {".", ".."} & set(path.split("/")) or "\\" in path or not path.isprintable():
        return PAGE
    if any(path == place or path.startswith(f"{place}/") for place in _NO_DESTINATIONS):
        return PAGE
    return text


def sign_in_path(destination: str) -> str:
    """Return the sign-in that leads to a view, without the prefix of a gateway."""
    return SIGN_IN if destination == PAGE else f"{SIGN_IN}?next={quote(destination, safe='')}"


def safe_place(text: str) -> str:
    """Return where a person goes on: as for `safe_next`, or the sign-in, which keeps where it leads.

    Args:
        text: As for `safe_next`.
    """
    path, _, query = text.partition("?")
    if path != SIGN_IN:
        return safe_next(text)
    return sign_in_path(safe_next(parse_qs(query).get("next", [PAGE])[0]))
