"""Opaque tokens: the authorization server is asked what they are worth (RFC 7662)."""

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
from security.tokens.claims import LEEWAY_S, expiry_of, identity_of
from security.tokens.jws import MAX_TOKEN_CHARS

log = logging.getLogger(__name__)

REMEMBERED_S = 30.0  # how long an answer is believed: a token that is revoked works no longer than this
REMEMBERED_TOKENS = 10_000


class Introspector:
    """Asks an introspection endpoint about tokens and remembers its answers for a moment.

    url: the endpoint. client_id, client_secret: how this service authenticates there (HTTP Basic). remember_s: seconds,
    0 for not at all. remember: how many answers. now: the clock, in seconds.
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
        """The identity behind the token. issuer, audience: what the answer must say, when given.

        Raises: InvalidToken when the server says that it is not active, or says something else than it must;
        SecurityException 503 when it cannot be asked.
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise InvalidToken("the token is too long or not ASCII")
        fingerprint = sha256(token.encode()).digest()
        with self._lock:
            answer, until = self._answers.get(fingerprint, ({}, 0.0))
        if until <= self._now():
            answer, until = self._ask(token)
            with self._lock:
                self._answers[fingerprint] = (answer, until)
        if answer.get("active") is not True:
            raise InvalidToken("the token is not active")
        auth, _ = identity_of(
            answer, self._now(), leeway_s=LEEWAY_S, require_exp=False, issuer=issuer, audience=audience
        )
        return auth

    def _ask(self, token: str) -> tuple[dict[str, Any], float]:
        """What the server says, and until when to believe it."""
        try:
            answer = fetch_json("POST", self._url, data={"token": token}, auth=self._client)
        except FetchFailed as err:
            log.warning("a token was not checked: %s", err)
            raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"}) from err
        until = self._now() + self._remember_s
        try:
            return answer, min(until, expiry_of(answer))
        except InvalidToken:
            return answer, until
