"""The JWT provider."""

from security.providers.jwt import JWTProvider

__all__ = ["JWTProvider"]
