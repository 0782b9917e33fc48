"""Authentication by OAuth2 access tokens."""

from collections.abc import Iterable, Sequence
from typing import Any

from security.context import SecurityContext
from security.errors import InsufficientScope
from security.keys.store import KeyStore
from security.keys.verification_key import KeySource
from security.messages import Request, Response
from security.names import parse_scopes
from security.providers.jwt import parse_token
from security.tokens.introspection import Introspector
from security.tokens.verifier import TokenVerifier


class OAuth2Provider:
    """Authenticates requests by an access token in `Authorization: Bearer`, unless an earlier provider has.

    Args:
        key_store: The trusted keys of signed tokens.
        algs: The accepted algorithms of signed tokens; all supported ones by default.
        keys: Another source of trusted keys, such as `JwksKeys`, instead of a key store.
        introspector: Validates opaque tokens.
        issuer: The required issuer.
        audience: The required audience.
        scopes: The required scopes.
        **options: Further options of `TokenVerifier` for signed tokens.

    Raises:
        KeyException: If a key cannot be used.
        ValueError: If arguments are missing or contradict each other.
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
        scopes: str | Iterable[str] = (),
        **options: Any,
    ) -> None:
        if key_store is not None and keys is not None:
            raise ValueError("key_store and keys cannot be combined")
        if key_store is not None:
            key_store.verification_keys()  # an unusable key must fail at startup, not on a request
        source = keys if keys is not None else key_store
        if source is None and introspector is None:
            raise ValueError("an OAuth2 provider needs keys or an introspector")
        if source is None and (algs or options):
            names = ", ".join(["algs"] * bool(algs) + sorted(options))
            raise ValueError(f"{names}: only valid for signed tokens, which need keys")
        self.verifier = (
            None if source is None else TokenVerifier(source, algs=algs, issuer=issuer, audience=audience, **options)
        )
        self._introspector = introspector
        self._issuer = issuer
        self._audience = audience
        self._scopes = parse_scopes(scopes)

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        """Set the identity of the request's token, if it has one and no identity is set yet.

        Raises:
            InvalidToken: If the token is invalid.
            InsufficientScope: If the token lacks a required scope.
            SecurityException: With status 503, if the token cannot be checked now.
        """
        token = None if context.has_auth() else parse_token(req, "Authorization", "Bearer")
        if token is None:
            return
        if self._introspector is not None and (self.verifier is None or token.count(".") != 2):
            auth = self._introspector.verify(token, self._issuer, self._audience)
        else:
            assert self.verifier is not None
            auth = self.verifier.verify(token)
        if not auth.has_scopes(self._scopes):
            raise InsufficientScope(" ".join(self._scopes))
        context.set_auth(auth)
