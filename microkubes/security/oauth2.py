"""The provider that authenticates by OAuth2 access tokens."""

from security.providers.oauth2 import OAuth2Provider

__all__ = ["OAuth2Provider"]
