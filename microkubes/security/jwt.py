"""The provider that authenticates by JWT."""

from security.providers.jwt import JWTProvider

__all__ = ["JWTProvider"]
