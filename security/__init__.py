"""Authentication and authorization of requests by a chain of providers.

The public names are those of the Microkubes Python library, so that its services run unchanged.
"""

from typing import Any

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
from security.frameworks.wsgi import SecurityMiddleware
from security.keys.jwks import JwksKeys
from security.keys.key_file import Key
from security.keys.store import KeyStore
from security.messages import Request, Response
from security.providers.acl import ACLProvider
from security.providers.jwt import JWTProvider
from security.providers.oauth2 import OAuth2Provider
from security.tokens.introspection import Introspector

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
    # Imported on first use: the chain works without Flask.
    if name in _FLASK_NAMES:
        from security.frameworks import flask as flask_security

        return getattr(flask_security, name)
    raise AttributeError(f"module 'security' has no attribute {name!r}")
