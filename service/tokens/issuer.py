"""Tokens of this service's own, signed with its own key and never with the platform's."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jwt

from security.keys.signing_key import SigningKeys
from service.errors import NoSigningKey

READ = ("api:read",)  # what a holder may do unless it is said otherwise
READ_AND_WRITE = (*READ, "api:write")


@dataclass(frozen=True)
class Subject:
    """Whom a token speaks of, and what they may do."""

    name: str
    scopes: tuple[str, ...] = READ
    roles: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


class TokenIssuer:
    """Signs tokens with the claims of Microkubes' jwt-issuer (integer seconds), plus a `kid`.

    keys: this service's own. issuer: the claim `iss`. lifetime_s: how long a token is valid. now: the clock, in
    seconds.
    """

    def __init__(self, keys: SigningKeys, issuer: str, lifetime_s: int, now: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self._issuer = issuer
        self.lifetime_s = lifetime_s
        self._now = now

    def can_sign(self) -> bool:
        """Whether there is a key to sign with now."""
        return self.keys.current() is not None

    def issue(self, subject: Subject, scopes: Sequence[str] | None = None) -> str:
        """A token that says who the holder is and that they may do this (default: all they may).

        Raises: NoSigningKey.
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
