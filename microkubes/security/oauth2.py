"""The OAuth2 provider."""

from security.providers.oauth2 import OAuth2Provider

__all__ = ["OAuth2Provider"]
