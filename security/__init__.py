"""Who may come in: a chain of security providers over a directory of RSA keys. Knows nothing of loans.

The names are those of Microkubes' own Python library, so that its services find them here.
"""

from typing import Any

from security.acl_provider import ACLProvider
from security.auth import Auth
from security.chain import (
    Provider,
    SecurityChain,
    is_authenticated_provider,
    public_routes_provider,
    scopes_provider,
)
from security.context import ContextvarsSecurityContext, SecurityContext, ThreadLocalSecurityContext
from security.errors import (
    BreakChain,
    InsufficientScope,
    InvalidToken,
    KeyException,
    NotAuthenticated,
    PolicyError,
    SecurityException,
)
from security.exchange import Request, Response
from security.introspection import Introspector
from security.jwks import JwksKeys
from security.jwt_provider import JWTProvider
from security.key import Key
from security.key_store import KeyStore
from security.oauth2_provider import OAuth2Provider
from security.wsgi import SecurityMiddleware

_OF_FLASK = ("FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security")

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
    # the chain works without Flask, so Flask is imported only by whoever asks for these
    if name in _OF_FLASK:
        from security import flask_security

        return getattr(flask_security, name)
    raise AttributeError(f"module 'security' has no attribute {name!r}")
