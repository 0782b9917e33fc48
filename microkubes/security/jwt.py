"""The JWT provider."""

from security.jwt_provider import JWTProvider

__all__ = ["JWTProvider"]
