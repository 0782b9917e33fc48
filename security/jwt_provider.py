"""Identities from signed tokens in a header."""

from collections.abc import Sequence
from typing import Any

import jwt
from jwt.exceptions import InvalidTokenError

from security.claims import auth_of
from security.context import SecurityContext
from security.errors import InvalidToken
from security.exchange import Request, Response
from security.key_store import Key, KeyStore

RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
LEEWAY_S = 5.0  # clocks of issuer and service may differ this much
MAX_TOKEN_CHARS = 16_384  # a larger header is refused before anything parses it


class JWTProvider:
    """Verifies a JWT in a request's header with the key store's public keys and sets the identity it names.

    key_store: the trusted keys. header, auth_schema: where the token is, `Authorization: Bearer <token>` by default.
    algs: accepted signature algorithms, of the RSA family only, so that a public key can never be taken for a shared
    secret (RFC 8725, section 3.1). leeway_s: seconds by which `exp` and `nbf` may be missed.

    Every token needs `exp`. A `kid` that names a key in the store selects it; otherwise each key is tried in turn.
    """

    def __init__(
        self,
        key_store: KeyStore,
        header: str = "Authorization",
        auth_schema: str = "Bearer",
        algs: Sequence[str] | None = None,
        leeway_s: float = LEEWAY_S,
    ) -> None:
        self.key_store = key_store
        self.header = header
        self.auth_schema = auth_schema
        self.algs = list(algs or RSA_ALGORITHMS)
        if not set(self.algs) <= set(RSA_ALGORITHMS):
            raise ValueError(f"algs are of {', '.join(RSA_ALGORITHMS)}, not {', '.join(self.algs)}")
        self.leeway_s = leeway_s

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        token = self._token(req)
        if token is not None:
            context.set_auth(auth_of(self._verified_claims(token)))

    def _token(self, req: Request) -> str | None:
        value = req.get_header(self.header)
        if not value:
            return None
        if not self.auth_schema:
            return value
        scheme, _, token = value.partition(" ")
        if scheme.lower() != self.auth_schema.lower():  # RFC 9110, section 11.1: schemes ignore case
            return None
        token = token.strip()
        if not token:
            raise InvalidToken(f"{self.header} holds no token after {self.auth_schema}")
        return token

    def _verified_claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidToken("the token is too long")
        failure: InvalidTokenError | None = None
        for key in self._candidates(token):
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.public,
                    algorithms=self.algs,
                    leeway=self.leeway_s,
                    options={
                        "require": ["exp"],
                        "verify_signature": True,
                        "verify_exp": True,
                        "verify_nbf": True,
                        "verify_aud": False,  # Microkubes tokens carry no audience
                    },
                )
                return claims
            except jwt.InvalidSignatureError as err:
                failure = err
            except InvalidTokenError as err:
                # the signature was good, or the token is not one at all: no other key will change that
                raise InvalidToken(_reason(err)) from err
        raise InvalidToken("no trusted key verifies the token's signature") from failure

    def _candidates(self, token: str) -> list[Key]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except InvalidTokenError as err:
            raise InvalidToken(_reason(err)) from err
        if isinstance(kid, str) and kid in self.key_store.keys:
            return [self.key_store.keys[kid]]
        return [key for _, key in self.key_store.public_keys()]


def _reason(err: InvalidTokenError) -> str:
    """A stable text for the client: the library's own may repeat what the token holds."""
    for kind, reason in (
        (jwt.ExpiredSignatureError, "the token has expired"),
        (jwt.ImmatureSignatureError, "the token is not valid yet"),
        (jwt.MissingRequiredClaimError, "the token has no expiry (claim exp)"),
        (jwt.InvalidAlgorithmError, "the token is signed with an algorithm that is not accepted"),
    ):
        if isinstance(err, kind):
            return reason
    return "the token cannot be read"
