"""Lists of names in claims and arguments: roles, organizations, namespaces and scopes."""

import re
from collections.abc import Iterable


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


def parse_names(value: str | Iterable[str] | None) -> Names:
    """Return the distinct names in a list, or in a string with commas between them.

    Names may contain spaces, as in `Acme Corp`. Microkubes' issuer joins them with commas, and its Python library
    ignores spaces around each one. An entry of a list is a single name, exactly as written.
    """
    if isinstance(value, str):
        value = [name.strip(" ") for name in value.split(",")]
    return Names(dict.fromkeys(name for name in value or () if name))


def parse_scopes(value: str | Iterable[str] | None) -> Names:
    """Return the distinct scopes in a string or in a list of such strings.

    Scopes are separated by spaces (RFC 6749, section 3.3) or, as in tokens of Microkubes services, by commas.
    """
    entries = [value] if isinstance(value, str) else value or ()
    return Names(dict.fromkeys(scope for entry in entries for scope in re.split("[ ,]", entry) if scope))
