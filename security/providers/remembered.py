"""Identities that a chain has established before, for event loops, which must not wait for a chain."""

from collections.abc import Callable

from security.auth import Auth
from security.chain import SecurityChain, is_authenticated_provider
from security.providers.jwt import JWTProvider
from security.providers.oauth2 import OAuth2Provider


def remembered_identities(chain: SecurityChain) -> Callable[[str], Auth | None]:
    """Return a function from an Authorization header to the identity that a chain would set. It never blocks.

    It returns None if the chain has to decide: about unknown tokens, and if the chain has providers that could decide
    otherwise, such as access policies.

    Args:
        chain: A chain that is complete.
    """
    first, *others = chain.providers or (None,)
    if isinstance(first, JWTProvider) and all(
        isinstance(other, OAuth2Provider) or other is is_authenticated_provider for other in others
    ):
        return first.remembered
    return lambda authorization: None
