"""The provider that authenticates by OAuth2 access tokens."""

from microkubes.own_packages import own_packages

with own_packages():
    from security.providers.oauth2 import OAuth2Provider

__all__ = ["OAuth2Provider"]
