"""Identities of callers."""

from collections.abc import Iterable
from dataclasses import dataclass


class Names(tuple[str, ...]):
    """An immutable sequence of names that equals a list of the same names.

    Microkubes services compare these members with lists. They are immutable because a cached identity is shared by all
    requests with the same token.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __add__(self, other: object) -> list[str]:  # type: ignore[override]
        return [*self, *other] if isinstance(other, list | tuple) else NotImplemented

    __hash__ = tuple.__hash__


@dataclass(frozen=True, eq=False)
class Auth:
    """An authenticated identity. Two are equal if all members are, ignoring the order of names.

    Args:
        user_id: The user's or client's id.
        username: The user's name, in Microkubes usually an e-mail address.
        roles: Names of roles; None means none, as for the next three.
        organizations: Names of organizations.
        namespaces: Names of namespaces.
        scopes: The scopes granted to the token, such as `api:read`.
        customer_id: An optional claim of some Microkubes tokens, as are the next two.
        fullname: The user's full name.
        email: The user's e-mail address.
    """

    user_id: str
    username: str
    roles: Iterable[str] | None = ()
    organizations: Iterable[str] | None = ()
    namespaces: Iterable[str] | None = ()
    scopes: Iterable[str] | None = ()
    customer_id: str | None = None
    fullname: str | None = None
    email: str | None = None

    def __post_init__(self) -> None:
        for name in ("roles", "organizations", "namespaces", "scopes"):
            object.__setattr__(self, name, Names(getattr(self, name) or ()))

    def has_scopes(self, scopes: Iterable[str]) -> bool:
        """Return whether all of the scopes were granted."""
        granted = set(self.scopes or ())
        return granted.issuperset(scopes)

    def _key(self) -> tuple[object, ...]:
        names = (self.roles, self.organizations, self.namespaces, self.scopes)
        return (
            self.user_id, self.username, *(frozenset(each or ()) for each in names),
            self.customer_id, self.fullname, self.email,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Auth) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())
