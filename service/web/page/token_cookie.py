"""The cookie that holds a person's token. Only the routes of the page read it."""

import re

from flask import Request, Response

from security.errors import InvalidToken
from security.tokens.jws import parse_compact
from service.web.page.paths import PAGE

MAX_TOKEN_CHARS = 4000
"""The longest token that fits: browsers drop a cookie whose name and value have more than 4,096 bytes."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_SECURE_NAME, _PLAIN_NAME = "__Secure-loaner", "loaner"


def parse_pasted_token(text: str) -> str:
    """Return a token that a person has pasted, without what is often copied with it.

    Raises:
        ValueError: If the text is no token, or the token does not fit into a cookie.
    """
    token = re.sub(r"^(?:Authorization:\s*)?(?:Bearer\s+)?|\s+", "", text.strip().strip("'\""), flags=re.IGNORECASE)
    if not _TOKEN.fullmatch(token):
        raise ValueError("This is not a token. Paste the text that the platform has issued, and nothing else.")
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(
            f"This token has {len(token):,} characters. Browsers keep at most {MAX_TOKEN_CHARS:,} of them in a cookie. "
            "Request a token with fewer scopes, roles or organizations."
        )
    return token


def read_token(request: Request) -> str | None:
    """Return the token in the cookie of a request; None without one."""
    token = request.cookies.get(_name(request))
    return token if token and len(token) <= MAX_TOKEN_CHARS and _TOKEN.fullmatch(token) else None


def write_token(request: Request, response: Response, token: str, now: float) -> None:
    """Let the browser keep a token for as long as it is valid.

    Args:
        request: The current request.
        response: The reply that sets the cookie.
        token: The token, which has been verified.
        now: Seconds since the epoch.
    """
    expires = _expiry(token)
    max_age_s = None if expires is None else max(0, int(expires - now))  # None: until the browser is closed
    response.set_cookie(
        _name(request), token, max_age=max_age_s, path=_path(request), secure=_is_secure(request), httponly=True,
        samesite="Strict",
    )  # fmt: skip


def clear_token(request: Request, response: Response) -> None:
    """Let the browser forget the token."""
    response.delete_cookie(
        _name(request), path=_path(request), secure=request.is_secure, httponly=True, samesite="Strict"
    )


def _name(request: Request) -> str:
    # A browser accepts the first name over HTTPS only, so that an attacker on the network cannot set or replace it.
    return _SECURE_NAME if request.is_secure else _PLAIN_NAME


def _is_secure(request: Request) -> bool:
    # Behind a proxy that is not trusted, only the browser says that it uses HTTPS.
    return request.is_secure or request.headers.get("Origin", "").startswith("https://")


def _path(request: Request) -> str:
    # Another service behind the same gateway does not receive it.
    return f"{request.script_root}{PAGE}"


def _expiry(token: str) -> float | None:
    """Return when a verified token expires; None if it does not say so, such as an opaque one."""
    try:
        expires = parse_compact(token).claims().get("exp")
    except InvalidToken:
        return None
    return float(expires) if isinstance(expires, int | float) else None
