"""Who a request comes from."""

from collections.abc import Iterable
from dataclasses import dataclass


class Names(tuple[str, ...]):
    """Names in the order given. Equal to a list of the same names, as Microkubes' services compare them, but fixed:
    an identity is shared by every request that shows the same token."""

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
    """An established identity. Equal when all members are, whatever the order of names; equal ones hash alike.

    username: in Microkubes usually an e-mail address. scopes: what the token may be used for, such as `api:read`.
    customer_id, fullname, email: optional claims that some Microkubes tokens carry.
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
        """Whether the identity was granted every one of these scopes."""
        return set(scopes) <= set(self.scopes or ())

    def _members(self) -> tuple[object, ...]:
        named = (self.roles, self.organizations, self.namespaces, self.scopes)
        return (
            self.user_id, self.username, *(frozenset(names or ()) for names in named),
            self.customer_id, self.fullname, self.email,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Auth) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())
