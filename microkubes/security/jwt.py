"""The provider that authenticates by JWT."""

from microkubes.own_packages import own_packages

with own_packages():
    from security.providers.jwt import JWTProvider

__all__ = ["JWTProvider", "JWTSProvider", "JWTSecurityProvider"]

# The names in the library's documentation.
JWTSProvider = JWTSecurityProvider = JWTProvider
