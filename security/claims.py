"""What a Microkubes token says, read as its issuers really write it."""

from collections.abc import Mapping
from typing import Any

from security.auth import Auth
from security.errors import InvalidToken


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
        found += entries
    return tuple(found)


def auth_of(claims: Mapping[str, Any]) -> Auth:
    """The identity that a verified token's claims describe. Raises: InvalidToken when it names nobody."""
    user_id = claims.get("userId") or claims.get("sub")
    username = claims.get("username") or user_id
    if not isinstance(user_id, str) or not isinstance(username, str):
        raise InvalidToken("the token names no user (claims userId, sub, username)")
    return Auth(
        user_id,
        username,
        roles=words(claims, "roles"),
        organizations=words(claims, "organizations"),
        namespaces=words(claims, "namespaces"),
        scopes=words(claims, "scope", "scopes"),
    )
