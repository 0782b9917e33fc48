"""Validation of opaque tokens by the authorization server (RFC 7662)."""

import logging
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cachetools import LRUCache

from security.auth import Auth
from security.basic_credentials import encode
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
        client_id: The id of this service at the endpoint. It is sent in HTTP Basic, form-encoded as RFC 6749, section
            2.3.1, requires, or as it is if the endpoint rejects that.
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
        self._credentials = _credentials(client_id, client_secret)  # those that the endpoint accepted come first
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
            answer = self._fetch(token)
        except FetchFailed as err:
            log.warning("token introspection failed: %s", err)
            raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"}) from err
        until = self._now() + self._remember_s
        try:
            return answer, min(until, expiry(answer))
        except InvalidToken:
            return answer, until

    def _fetch(self, token: str) -> dict[str, Any]:
        *earlier, last = known = self._credentials
        for credentials in earlier:
            try:
                return fetch_json("POST", self._url, data={"token": token}, auth=credentials)
            except FetchFailed as err:
                if err.status != 401:
                    raise
        answer = fetch_json("POST", self._url, data={"token": token}, auth=last)
        self._credentials = [last, *(each for each in known if each != last)]
        return answer


def _credentials(client_id: str, secret: str) -> list[tuple[str, str]]:
    """Return the form-encoded credentials, and the plain ones if they differ and a header can contain them."""
    encoded, plain = (encode(client_id), encode(secret)), (client_id, secret)
    try:
        "".join(plain).encode("latin-1")
    except UnicodeEncodeError:
        return [encoded]
    return list(dict.fromkeys((encoded, plain)))
