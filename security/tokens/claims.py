"""Claims of Microkubes tokens: validation, and conversion to identities."""

import math
from collections.abc import Mapping
from typing import Any

from security.auth import Auth
from security.errors import InvalidToken
from security.names import parse_names, parse_scopes


def to_auth(claims: Mapping[str, Any]) -> Auth:
    """Return the identity of a verified token.

    Raises:
        InvalidToken: If the token identifies no user, or a claim has the wrong type.
    """
    user_id = _string(claims, "userId") or _string(claims, "sub")
    username = _string(claims, "username") or user_id
    if user_id is None or username is None:
        raise InvalidToken("the token names no user (claims userId, sub, username)")
    return Auth(
        user_id,
        username,
        roles=parse_names(_list(claims, "roles")),
        organizations=parse_names(_list(claims, "organizations")),
        namespaces=parse_names(_list(claims, "namespaces")),
        scopes=[*parse_scopes(_list(claims, "scope")), *parse_scopes(_list(claims, "scopes"))],
        customer_id=_string(claims, "customerID"),
        fullname=_string(claims, "fullname"),
        email=_string(claims, "email"),
    )


def expiry(claims: Mapping[str, Any]) -> float:
    """Return when the token expires (claim exp), in seconds since the epoch; infinity without the claim.

    Raises:
        InvalidToken: If the claim is not a number.
    """
    expires = _number(claims, "exp")
    return math.inf if expires is None else expires


def check_times(claims: Mapping[str, Any], now: float, leeway_s: float, require_exp: bool) -> None:
    """Check the claims exp, nbf and iat (RFC 7519, section 4.1).

    Args:
        claims: The claims of the token.
        now: The current time, in seconds since the epoch.
        leeway_s: The tolerated clock difference, in seconds.
        require_exp: Whether the token must expire.

    Raises:
        InvalidToken: If the token has expired, is not valid yet, or has an invalid time.
    """
    expires = expiry(claims)
    if require_exp and expires == math.inf:
        raise InvalidToken("the token has no expiry (claim exp)")
    if expires + leeway_s <= now:
        raise InvalidToken("the token has expired")
    for name in ("nbf", "iat"):
        begins = _number(claims, name)
        if begins is not None and begins - leeway_s > now:
            raise InvalidToken(f"the token is not valid yet (claim {name})")


def verify_claims(
    claims: Mapping[str, Any],
    now: float,
    *,
    leeway_s: float,
    require_exp: bool,
    issuer: str | None = None,
    audience: str | None = None,
) -> tuple[Auth, float]:
    """Verify the claims of a token.

    Args:
        claims: The claims of the token.
        now: The current time, in seconds since the epoch.
        leeway_s: The tolerated clock difference, in seconds.
        require_exp: Whether the token must expire.
        issuer: The required issuer, if any.
        audience: The required audience, if any.

    Returns:
        The identity, and when the token expires.

    Raises:
        InvalidToken: If a claim is invalid.
    """
    check_times(claims, now, leeway_s, require_exp)
    if issuer is not None and claims.get("iss") != issuer:
        raise InvalidToken("the token is from another issuer (claim iss)")
    audiences = claims.get("aud")
    if audience is not None and audiences != audience and not (isinstance(audiences, list) and audience in audiences):
        raise InvalidToken("the token is for another audience (claim aud)")
    return to_auth(claims), expiry(claims)


def _string(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidToken(f"the claim {name} is not a string")
    return value or None


def _list(claims: Mapping[str, Any], name: str) -> str | list[str] | None:
    """Return a list claim. Microkubes' issuers write JSON arrays or strings; null and "" are empty lists."""
    value = claims.get(name)
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise InvalidToken(f"the claim {name} is neither a string nor a list of strings")
    return value


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # In Python, True is an int and 1e999 parses to infinity.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        raise InvalidToken(f"the claim {name} is not a number of seconds")
    return value
