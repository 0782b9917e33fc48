"""Identities of callers."""

from collections.abc import Iterable
from dataclasses import dataclass

from security.names import parse_names, parse_scopes


@dataclass(frozen=True, eq=False)
class Auth:
    """An authenticated identity. Two are equal if all members are, ignoring the order of names.

    Args:
        user_id: The user's or client's id.
        username: The user's name, in Microkubes usually an e-mail address.
        roles: Names of roles, as a list or joined with commas; None means none, as for the next three.
        organizations: Names of organizations.
        namespaces: Names of namespaces.
        scopes: The scopes granted to the token, such as `api:read`, as a list or joined with spaces or commas.
        customer_id: An optional claim of some Microkubes tokens, as are the next two.
        fullname: The user's full name.
        email: The user's e-mail address.
    """

    user_id: str
    username: str
    roles: str | Iterable[str] | None = ()
    organizations: str | Iterable[str] | None = ()
    namespaces: str | Iterable[str] | None = ()
    scopes: str | Iterable[str] | None = ()
    customer_id: str | None = None
    fullname: str | None = None
    email: str | None = None

    def __post_init__(self) -> None:
        for name in ("roles", "organizations", "namespaces"):
            object.__setattr__(self, name, parse_names(getattr(self, name)))
        object.__setattr__(self, "scopes", parse_scopes(self.scopes))

    def has_scopes(self, scopes: str | Iterable[str]) -> bool:
        """Return whether all of the scopes were granted."""
        granted = tuple(self.scopes or ())
        required = parse_scopes(scopes) if isinstance(scopes, str) else scopes
        for scope in required:  # noqa: SIM110  (on the path of each request, where a generator takes twice as long)
            if scope not in granted:
                return False
        return True

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
