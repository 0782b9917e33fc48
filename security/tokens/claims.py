"""What a Microkubes token says, read as its issuers really write it."""

import math
from collections.abc import Mapping
from typing import Any

from security.auth import Auth
from security.errors import InvalidToken
from security.keys.verification_key import LEEWAY_S as LEEWAY_S


def words(claims: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """The entries of a list-like claim under any of its names: a list, or a string split on commas and spaces.

    null and "" mean none. Raises: InvalidToken for another type.
    """
    found: list[str] = []
    for name in names:
        value = claims.get(name)
        if value is None:
            continue
        entries = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise InvalidToken(f"the claim {name} is neither a string nor a list of strings")
        found += [name for entry in entries for name in entry.split(",") if name]
    return tuple(dict.fromkeys(found))


def auth_of(claims: Mapping[str, Any]) -> Auth:
    """The identity that a verified token's claims describe. Raises: InvalidToken when it names nobody."""
    user_id = _text(claims, "userId") or _text(claims, "sub")
    username = _text(claims, "username") or user_id
    if user_id is None or username is None:
        raise InvalidToken("the token names no user (claims userId, sub, username)")
    return Auth(
        user_id,
        username,
        roles=words(claims, "roles"),
        organizations=words(claims, "organizations"),
        namespaces=words(claims, "namespaces"),
        scopes=words(claims, "scope", "scopes"),
        customer_id=_text(claims, "customerID"),
        fullname=_text(claims, "fullname"),
        email=_text(claims, "email"),
    )


def expiry_of(claims: Mapping[str, Any]) -> float:
    """The second at which the token expires (claim exp); infinity when it does not say. Raises: InvalidToken."""
    expires = _number(claims, "exp")
    return math.inf if expires is None else expires


def check_times(claims: Mapping[str, Any], now: float, leeway_s: float, require_exp: bool) -> None:
    """Hold exp, nbf and iat (RFC 7519, section 4.1) against the clock. now, leeway_s: seconds.

    Raises: InvalidToken.
    """
    expires = expiry_of(claims)
    if require_exp and expires == math.inf:
        raise InvalidToken("the token has no expiry (claim exp)")
    if expires + leeway_s <= now:
        raise InvalidToken("the token has expired")
    for name in ("nbf", "iat"):
        begins = _number(claims, name)
        if begins is not None and begins - leeway_s > now:
            raise InvalidToken(f"the token is not valid yet (claim {name})")


def identity_of(
    claims: Mapping[str, Any],
    now: float,
    *,
    leeway_s: float,
    require_exp: bool,
    issuer: str | None = None,
    audience: str | None = None,
) -> tuple[Auth, float]:
    """The identity that claims prove now, and when it expires. issuer, audience: what they must say, when given.

    Raises: InvalidToken.
    """
    check_times(claims, now, leeway_s, require_exp)
    if issuer is not None and claims.get("iss") != issuer:
        raise InvalidToken("the token is of another issuer (claim iss)")
    meant_for = claims.get("aud")
    if audience is not None and meant_for != audience and not (isinstance(meant_for, list) and audience in meant_for):
        raise InvalidToken("the token is meant for another audience (claim aud)")
    return auth_of(claims), expiry_of(claims)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidToken(f"the claim {name} is not a string")
    return value or None


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # True is an int to Python, and 1e999 a float
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        raise InvalidToken(f"the claim {name} is not a number of seconds")
    return value
