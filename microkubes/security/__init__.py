"""The security chain. Flask is imported on first use of its names."""

from typing import TYPE_CHECKING, Any

from microkubes.own_packages import own_packages
from microkubes.security.acl import ACLProvider
from microkubes.security.auth import Auth, ContextvarsSecurityContext, SecurityContext, ThreadLocalSecurityContext
from microkubes.security.chain import (
    BreakChain,
    Provider,
    Request,
    Response,
    SecurityChain,
    SecurityException,
    is_authenticated_provider,
    public_routes_provider,
    scopes_provider,
)
from microkubes.security.jwt import JWTProvider, JWTSecurityProvider, JWTSProvider
from microkubes.security.keys import Key, KeyException, KeyStore
from microkubes.security.oauth2 import OAuth2Provider

with own_packages():
    from security import (
        InsufficientScope,
        Introspector,
        InvalidToken,
        JwksKeys,
        NotAuthenticated,
        PolicyError,
        SecurityMiddleware,
    )

if TYPE_CHECKING:
    from microkubes.security.flask import FlaskSecurity, FlaskSecurityContext, FlaskSecurityError, Security

_FLASK_NAMES = ("FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security")

__all__ = [
    "ACLProvider",
    "Auth",
    "BreakChain",
    "ContextvarsSecurityContext",
    "FlaskSecurity",
    "FlaskSecurityContext",
    "FlaskSecurityError",
    "InsufficientScope",
    "Introspector",
    "InvalidToken",
    "JWTProvider",
    "JWTSProvider",
    "JWTSecurityProvider",
    "JwksKeys",
    "Key",
    "KeyException",
    "KeyStore",
    "NotAuthenticated",
    "OAuth2Provider",
    "PolicyError",
    "Provider",
    "Request",
    "Response",
    "Security",
    "SecurityChain",
    "SecurityContext",
    "SecurityException",
    "SecurityMiddleware",
    "ThreadLocalSecurityContext",
    "is_authenticated_provider",
    "public_routes_provider",
    "scopes_provider",
]


def __getattr__(name: str) -> Any:
    if name in _FLASK_NAMES:
        from microkubes.security import flask as flask_security

        return getattr(flask_security, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
