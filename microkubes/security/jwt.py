"""The provider that authenticates by JWT."""

from security.providers.jwt import JWTProvider

__all__ = ["JWTProvider", "JWTSProvider", "JWTSecurityProvider"]

# The names in the library's documentation.
JWTSProvider = JWTSecurityProvider = JWTProvider
