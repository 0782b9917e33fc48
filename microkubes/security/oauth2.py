"""The OAuth2 provider."""

from security.oauth2_provider import OAuth2Provider

__all__ = ["OAuth2Provider"]
