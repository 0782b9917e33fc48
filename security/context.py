"""Where the identity of the request at hand is kept while it is served."""

import threading
from contextvars import ContextVar
from typing import Any

from security.auth import Auth


class SecurityContext:
    """Holds one `Auth` per request in a place that only this request sees.

    local_context: an object whose attributes are local to a request, a thread or a coroutine.
    """

    def __init__(self, local_context: Any) -> None:
        self.local_context = local_context

    def get_auth(self) -> Auth | None:
        """The identity, or None when there is none."""
        return getattr(self.local_context, "microkubes_auth", None)

    def set_auth(self, auth: Auth | None) -> None:
        """Set the identity; one that was set before is replaced."""
        self.local_context.microkubes_auth = auth

    def has_auth(self) -> bool:
        """Whether an identity has been established."""
        return self.get_auth() is not None

    def clear_auth(self) -> None:
        """Forget the identity."""
        self.set_auth(None)


class ThreadLocalSecurityContext(SecurityContext):
    """An identity for each thread."""

    def __init__(self) -> None:
        super().__init__(threading.local())


class ContextvarsSecurityContext(SecurityContext):
    """An identity for each coroutine (`contextvars.Context`), separate from any other instance's."""

    def __init__(self) -> None:
        # the value itself is kept, not a dictionary of values: a shared default would show one caller to another
        self._auth: ContextVar[Auth | None] = ContextVar("microkubes_auth", default=None)
        super().__init__(self._auth)

    def get_auth(self) -> Auth | None:
        return self._auth.get()

    def set_auth(self, auth: Auth | None) -> None:
        self._auth.set(auth)
