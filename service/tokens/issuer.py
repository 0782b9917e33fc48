"""Issues access tokens, signed with this service's own key and never with the platform's."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jwt

from security.keys.signing_key import SigningKeys
from service.errors import NoSigningKey

READ = ("api:read",)  # the default scopes of a token
READ_AND_WRITE = (*READ, "api:write")


@dataclass(frozen=True)
class Subject:
    """The person or client that a token identifies, and what they may do."""

    name: str
    scopes: tuple[str, ...] = READ
    roles: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


class TokenIssuer:
    """Signs tokens with the claims of Microkubes' jwt-issuer (times in whole seconds) and a `kid` header.

    Args:
        keys: This service's signing keys.
        issuer: The claim `iss`.
        lifetime_s: Seconds for which a token is valid.
        now: The clock, in seconds since the epoch.
    """

    def __init__(self, keys: SigningKeys, issuer: str, lifetime_s: int, now: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self._issuer = issuer
        self.lifetime_s = lifetime_s
        self._now = now

    def can_sign(self) -> bool:
        """Return whether a signing key is available."""
        return self.keys.current() is not None

    def issue(self, subject: Subject, scopes: Sequence[str] | None = None) -> str:
        """Return a signed token.

        Args:
            subject: The person or client that the token identifies.
            scopes: The scopes of the token; by default all of the subject.

        Raises:
            NoSigningKey: If no signing key is available.
        """
        signing = self.keys.current()
        if signing is None:
            raise NoSigningKey
        issued = int(self._now())
        claims = {
            "jti": str(uuid.uuid4()),
            "iss": self._issuer,
            "iat": issued,
            "nbf": 0,
            "exp": issued + self.lifetime_s,
            "sub": subject.name,
            "userId": subject.name,
            "username": subject.name,
            "scopes": " ".join(subject.scopes if scopes is None else scopes),
            "roles": ",".join(subject.roles),
            "organizations": ",".join(subject.organizations),
        }
        if subject.namespaces:
            claims["namespaces"] = ",".join(subject.namespaces)
        return jwt.encode(claims, signing.key, algorithm=signing.algorithm, headers={"kid": signing.kid})
