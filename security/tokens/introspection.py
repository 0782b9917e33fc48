"""Validation of opaque tokens by the authorization server (RFC 7662)."""

import logging
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cachetools import LRUCache

from security.auth import Auth
from security.errors import InvalidToken, SecurityException
from security.json_client import FetchFailed, fetch_json, require_https
from security.keys.verification_key import LEEWAY_S
from security.tokens.claims import expiry, verify_claims
from security.tokens.jws import MAX_TOKEN_CHARS

log = logging.getLogger(__name__)

REMEMBERED_S = 30.0  # the longest time that a revoked token stays valid
REMEMBERED_TOKENS = 10_000


class Introspector:
    """A client of an introspection endpoint that caches its answers for a short time.

    Args:
        url: The endpoint; https, or http on the loopback interface.
        client_id: The id of this service at the endpoint (HTTP Basic).
        client_secret: The secret of this service at the endpoint.
        remember_s: How long to cache an answer, in seconds; 0 disables the cache.
        remember: How many answers to cache.
        now: The clock, in seconds since the epoch.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        remember_s: float = REMEMBERED_S,
        remember: int = REMEMBERED_TOKENS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = require_https(url)
        self._client = (client_id, client_secret)
        self._remember_s = remember_s
        self._now = now
        self._lock = threading.Lock()
        self._answers: LRUCache[bytes, tuple[dict[str, Any], float]] = LRUCache(max(1, remember))

    def verify(self, token: str, issuer: str | None = None, audience: str | None = None) -> Auth:
        """Return the identity of a token.

        Args:
            token: The token.
            issuer: The required issuer, if any.
            audience: The required audience, if any.

        Raises:
            InvalidToken: If the token is inactive or a claim is invalid.
            SecurityException: With status 503, if the endpoint does not answer.
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise InvalidToken("the token is too long or not ASCII")
        digest = sha256(token.encode()).digest()
        with self._lock:
            answer, until = self._answers.get(digest, ({}, 0.0))
        if until <= self._now():
            answer, until = self._introspect(token)
            with self._lock:
                self._answers[digest] = (answer, until)
        if answer.get("active") is not True:
            raise InvalidToken("the token is not active")
        auth, _ = verify_claims(
            answer, self._now(), leeway_s=LEEWAY_S, require_exp=False, issuer=issuer, audience=audience
        )
        return auth

    def _introspect(self, token: str) -> tuple[dict[str, Any], float]:
        """Return the answer of the endpoint, and until when to cache it."""
        try:
            answer = fetch_json("POST", self._url, data={"token": token}, auth=self._client)
        except FetchFailed as err:
            log.warning("token introspection failed: %s", err)
            raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"}) from err
        until = self._now() + self._remember_s
        try:
            return answer, min(until, expiry(answer))
        except InvalidToken:
            return answer, until
