"""Where the identity of the request at hand is kept while it is served."""

import threading
from contextvars import ContextVar
from typing import Any

from security.auth import Auth


def get_auth(local_context: Any) -> Auth | None:
    """The identity kept in a local context, or None."""
    auth = getattr(local_context, "microkubes_auth", None)
    return auth if isinstance(auth, Auth) else None


def set_auth(local_context: Any, auth: Auth | None) -> None:
    """Keep an identity in a local context; one that was there is replaced."""
    local_context.microkubes_auth = auth


def has_auth(local_context: Any) -> bool:
    """Whether a local context holds an identity."""
    return get_auth(local_context) is not None


def clear_auth(local_context: Any) -> None:
    """Forget the identity in a local context."""
    set_auth(local_context, None)


class SecurityContext:
    """Holds one `Auth` per request in a place that only this request sees.

    local_context: an object whose attributes are local to a request, a thread or a coroutine.
    """

    def __init__(self, local_context: Any) -> None:
        self.local_context = local_context

    def get_auth(self) -> Auth | None:
        """The identity, or None when there is none."""
        return get_auth(self.local_context)

    def set_auth(self, auth: Auth | None) -> None:
        """Set the identity; one that was set before is replaced."""
        set_auth(self.local_context, auth)

    def has_auth(self) -> bool:
        """Whether an identity has been established."""
        return has_auth(self.local_context)

    def clear_auth(self) -> None:
        """Forget the identity."""
        clear_auth(self.local_context)


class ThreadLocalSecurityContext(SecurityContext):
    """An identity for each thread."""

    def __init__(self) -> None:
        super().__init__(threading.local())


class _Coroutine:
    """Attributes that are local to a coroutine: only `microkubes_auth`.

    The variable holds the identity itself and not a dictionary of values, whose shared default would show one caller
    to another.
    """

    _variable: ContextVar[Auth | None]

    def __init__(self) -> None:
        object.__setattr__(self, "_variable", ContextVar[Auth | None]("microkubes_auth", default=None))

    @property
    def microkubes_auth(self) -> Auth | None:
        auth: Auth | None = self._variable.get()
        return auth

    def __setattr__(self, name: str, value: Auth | None) -> None:
        if name != "microkubes_auth":
            raise AttributeError(name)
        self._variable.set(value)


class ContextvarsSecurityContext(SecurityContext):
    """An identity for each coroutine (`contextvars.Context`), separate from any other instance's."""

    def __init__(self) -> None:
        super().__init__(_Coroutine())
