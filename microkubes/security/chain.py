"""The security chain, and the requests and responses of its providers."""

from security.chain import SecurityChain, is_authenticated_provider, public_routes_provider
from security.errors import BreakChain, SecurityException
from security.messages import Request, Response

__all__ = [
    "BreakChain",
    "Request",
    "Response",
    "SecurityChain",
    "SecurityException",
    "is_authenticated_provider",
    "public_routes_provider",
]
