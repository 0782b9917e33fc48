"""Who may come in: a chain of security providers over a directory of RSA keys. Knows nothing of loans.

The names are those of Microkubes' own Python library, so that its services find them here.
"""

from security.auth import Auth
from security.chain import Provider, SecurityChain, is_authenticated_provider, public_routes_provider
from security.context import ContextvarsSecurityContext, SecurityContext, ThreadLocalSecurityContext
from security.errors import (
    BreakChain,
    InsufficientScope,
    InvalidToken,
    KeyException,
    NotAuthenticated,
    SecurityException,
)
from security.exchange import Request, Response
from security.jwt_provider import JWTProvider
from security.key_store import Key, KeyStore

__all__ = [
    "Auth",
    "BreakChain",
    "ContextvarsSecurityContext",
    "InsufficientScope",
    "InvalidToken",
    "JWTProvider",
    "Key",
    "KeyException",
    "KeyStore",
    "NotAuthenticated",
    "Provider",
    "Request",
    "Response",
    "SecurityChain",
    "SecurityContext",
    "SecurityException",
    "ThreadLocalSecurityContext",
    "is_authenticated_provider",
    "public_routes_provider",
]
