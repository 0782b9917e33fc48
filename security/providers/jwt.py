"""Identities from signed tokens in a header."""

from collections.abc import Sequence
from typing import Any

from security.context import SecurityContext
from security.errors import InvalidToken
from security.keys.store import KeyStore
from security.messages import Request, Response
from security.tokens.verifier import TokenVerifier


def token_of(req: Request, header: str, auth_schema: str) -> str | None:
    """The token in a request's header, or None when the header presents none of this scheme.

    Raises: InvalidToken for a scheme without a token.
    """
    value = req.get_header(header)
    if not value:
        return None
    if not auth_schema:
        return value
    scheme, _, token = value.partition(" ")
    if scheme.lower() != auth_schema.lower():  # RFC 9110, section 11.1: schemes ignore case
        return None
    token = token.strip(" ")
    if not token:
        raise InvalidToken(f"{header} holds no token after {auth_schema}")
    return token


class JWTProvider:
    """Verifies a JWT in a request's header with the key store's public keys and sets the identity it names.

    key_store: the trusted keys. header, auth_schema: where the token is, `Authorization: Bearer <token>` by default.
    algs and the options of TokenVerifier: what is accepted.

    Raises: KeyException for a key that cannot be used; ValueError for algs that are not accepted.
    """

    def __init__(
        self,
        key_store: KeyStore,
        header: str = "Authorization",
        auth_schema: str = "Bearer",
        algs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        key_store.verification_keys()  # a key that cannot be used stops the start, not a request
        self._header = header
        self._auth_schema = auth_schema
        self._verifier = TokenVerifier(key_store, algs=algs, **options)

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        token = token_of(req, self._header, self._auth_schema)
        if token is not None:
            context.set_auth(self._verifier.verify(token))
