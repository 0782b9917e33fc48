"""Who a request comes from."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Auth:
    """An established identity. The four lists are kept as sorted tuples, so equal identities are equal and hash alike.

    username: in Microkubes usually an e-mail address. scopes: what the token may be used for, such as `api:read`.
    """

    user_id: str
    username: str
    roles: Iterable[str] | None = ()
    organizations: Iterable[str] | None = ()
    namespaces: Iterable[str] | None = ()
    scopes: Iterable[str] | None = ()

    def __post_init__(self) -> None:
        for name in ("roles", "organizations", "namespaces", "scopes"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name) or ()))))

    def has_scopes(self, scopes: Iterable[str]) -> bool:
        """Whether the identity was granted every one of these scopes."""
        return set(scopes) <= set(self.scopes or ())
