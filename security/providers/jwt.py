"""Authentication by signed tokens in a request header."""

from collections.abc import Sequence
from typing import Any

from security.auth import Auth
from security.context import SecurityContext
from security.errors import InvalidToken
from security.keys.store import KeyStore
from security.messages import Request, Response
from security.tokens.verifier import TokenVerifier


def parse_token(req: Request, header: str, auth_schema: str) -> str | None:
    """Return the token in a header, or None if the header is missing or has another scheme.

    Args:
        req: The request.
        header: The header of the token.
        auth_schema: The authentication scheme before the token; empty for none.

    Raises:
        InvalidToken: If no token follows the scheme.
    """
    value = req.get_header(header)
    if not value:
        return None
    if not auth_schema:
        return value
    scheme, _, token = value.partition(" ")
    if scheme.lower() != auth_schema.lower():  # RFC 9110, section 11.1: schemes are case-insensitive
        return None
    token = token.strip(" ")
    if not token:
        raise InvalidToken(f"{header} has no token after {auth_schema}")
    return token


class JWTProvider:
    """Authenticates requests by a JWT in a header, verified with the public keys of a store.

    Args:
        key_store: The trusted keys.
        header: The header of the token.
        auth_schema: The authentication scheme before the token; empty for none.
        algs: The accepted algorithms; all supported ones by default.
        **options: Further options of `TokenVerifier`.

    Raises:
        KeyException: If a key cannot be used.
        ValueError: If an algorithm is not supported.
    """

    def __init__(
        self,
        key_store: KeyStore,
        header: str = "Authorization",
        auth_schema: str = "Bearer",
        algs: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        key_store.verification_keys()  # an unusable key must fail at startup, not on a request
        self._header = header
        self._auth_schema = auth_schema
        self.verifier = TokenVerifier(key_store, algs=algs, **options)

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        """Set the identity of the request's token, if it has one.

        Raises:
            InvalidToken: If the token is invalid.
        """
        token = parse_token(req, self._header, self._auth_schema)
        if token is not None:
            context.set_auth(self.verifier.verify(token))

    def remembered(self, authorization: str) -> Auth | None:
        """Return the identity of a token that has been verified before; None if it is not known. Never blocks.

        Args:
            authorization: The value of the request's Authorization header.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme != self._auth_schema or self._header != "Authorization":
            return None
        return self.verifier.cached(token)
