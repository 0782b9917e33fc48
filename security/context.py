"""Storage for the identity of the current request."""

import threading
from contextvars import ContextVar
from typing import Any

from security.auth import Auth


def get_auth(local_context: Any) -> Auth | None:
    """Return the identity stored in a local context, or None."""
    auth = getattr(local_context, "microkubes_auth", None)
    return auth if isinstance(auth, Auth) else None


def set_auth(local_context: Any, auth: Auth | None) -> None:
    """Store an identity in a local context, replacing any previous one."""
    local_context.microkubes_auth = auth


def has_auth(local_context: Any) -> bool:
    """Return whether a local context holds an identity."""
    return get_auth(local_context) is not None


def clear_auth(local_context: Any) -> None:
    """Remove the identity from a local context."""
    set_auth(local_context, None)


class SecurityContext:
    """Holds the identity of the current request.

    Args:
        local_context: An object whose attributes are local to a request, a thread or a coroutine.
    """

    def __init__(self, local_context: Any) -> None:
        self.local_context = local_context

    def get_auth(self) -> Auth | None:
        """Return the identity, or None."""
        return get_auth(self.local_context)

    def set_auth(self, auth: Auth | None) -> None:
        """Set the identity, replacing any previous one."""
        set_auth(self.local_context, auth)

    def has_auth(self) -> bool:
        """Return whether an identity is set."""
        return has_auth(self.local_context)

    def clear_auth(self) -> None:
        """Remove the identity."""
        clear_auth(self.local_context)


class ThreadLocalSecurityContext(SecurityContext):
    """A security context with one identity per thread."""

    def __init__(self) -> None:
        super().__init__(threading.local())


class _CoroutineLocal:
    """An object whose only attribute, `microkubes_auth`, is local to a coroutine.

    The context variable holds the identity itself. The default of a variable that holds a dictionary would be shared
    by all coroutines.
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
    """A security context with one identity per coroutine (`contextvars.Context`)."""

    def __init__(self) -> None:
        super().__init__(_CoroutineLocal())
