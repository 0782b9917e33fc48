"""Identities, and the contexts that hold them."""

from microkubes.own_packages import own_packages

with own_packages():
    from security.auth import Auth
    from security.context import (
        ContextvarsSecurityContext,
        SecurityContext,
        ThreadLocalSecurityContext,
        clear_auth,
        get_auth,
        has_auth,
        set_auth,
    )

__all__ = [
    "Auth",
    "ContextvarsSecurityContext",
    "SecurityContext",
    "ThreadLocalSecurityContext",
    "clear_auth",
    "get_auth",
    "has_auth",
    "set_auth",
]
