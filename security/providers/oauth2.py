"""Identities from OAuth2 access tokens."""

from collections.abc import Sequence
from typing import Any

from security.context import SecurityContext
from security.errors import InsufficientScope
from security.keys.store import KeyStore
from security.keys.verification_key import KeySource
from security.messages import Request, Response
from security.providers.jwt import token_of
from security.tokens.introspection import Introspector
from security.tokens.verifier import TokenVerifier


class OAuth2Provider:
    """Accepts the access tokens of an authorization server, from `Authorization: Bearer`.

    key_store: the trusted keys; or keys: another source of them, such as JwksKeys. introspector: who is asked about
    a token that is not a signed one. issuer, audience, scopes: what every token must say and must have been granted,
    however it is checked. algs and the other options of TokenVerifier: what is accepted of a signed token.

    A request whose identity another provider has established is left as it is.

    Raises: ValueError for what does not go together; KeyException for a key that cannot be used.
    """

    def __init__(
        self,
        key_store: KeyStore | None = None,
        algs: Sequence[str] | None = None,
        *,
        keys: KeySource | None = None,
        introspector: Introspector | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        scopes: Sequence[str] = (),
        **options: Any,
    ) -> None:
        if key_store is not None and keys is not None:
            raise ValueError("keys come from a key store or from another source, not from both")
        if key_store is not None:
            key_store.verification_keys()  # a key that cannot be used stops the start, not a request
        source = keys if keys is not None else key_store
        if source is None and introspector is None:
            raise ValueError("an OAuth2 provider needs keys or an introspector")
        if source is None and (algs or options):
            raise ValueError(
                f"{', '.join(['algs'] * bool(algs) + sorted(options))} are of signed tokens, and need keys"
            )
        self._verifier = (
            None if source is None else TokenVerifier(source, algs=algs, issuer=issuer, audience=audience, **options)
        )
        self._introspector = introspector
        self._issuer = issuer
        self._audience = audience
        self._scopes = tuple(scopes)

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        token = None if context.has_auth() else token_of(req, "Authorization", "Bearer")
        if token is None:
            return
        if self._introspector is not None and (self._verifier is None or token.count(".") != 2):
            auth = self._introspector.verify(token, self._issuer, self._audience)
        else:
            assert self._verifier is not None
            auth = self._verifier.verify(token)
        if not auth.has_scopes(self._scopes):
            raise InsufficientScope(" ".join(self._scopes))
        context.set_auth(auth)
