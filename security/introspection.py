"""Opaque tokens: the authorization server is asked what they are worth (RFC 7662)."""

import logging
import threading
import time
from collections.abc import Callable
from hashlib import sha256

from cachetools import LRUCache

from security.auth import Auth
from security.claims import LEEWAY_S, auth_of, check_audience, check_issuer, check_times, expiry_of
from security.errors import InvalidToken, SecurityException
from security.json_fetch import FetchFailed, fetch_json, require_https

log = logging.getLogger(__name__)

REMEMBERED_S = 30.0  # how long an answer is believed: a token that is revoked works no longer than this
REMEMBERED_TOKENS = 10_000


class Introspector:
    """Asks an introspection endpoint about tokens and remembers its answers for a moment.

    url: the endpoint. client_id, client_secret: how this service authenticates there (HTTP Basic). issuer, audience:
    what the answer must say, when given. remember_s: seconds, 0 for not at all. now: the clock, in seconds.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        remember_s: float = REMEMBERED_S,
        remember: int = REMEMBERED_TOKENS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = require_https(url)
        self._client = (client_id, client_secret)
        self._issuer = issuer
        self._audience = audience
        self._remember_s = remember_s
        self._now = now
        self._lock = threading.Lock()
        self._answers: LRUCache[bytes, tuple[Auth | None, float]] = LRUCache(remember)

    def verify(self, token: str) -> Auth:
        """The identity behind the token.

        Raises: InvalidToken when the server says that it is not active; SecurityException 503 when it cannot be asked.
        """
        fingerprint = sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            auth, until = self._answers.get(fingerprint, (None, 0.0))
        if until <= self._now():
            auth, until = self._ask(token)
            with self._lock:
                self._answers[fingerprint] = (auth, until)
        if auth is None:
            raise InvalidToken("the token is not active")
        return auth

    def _ask(self, token: str) -> tuple[Auth | None, float]:
        """What the server says, and until when to believe it."""
        try:
            answer = fetch_json("POST", self._url, data={"token": token}, auth=self._client)
        except FetchFailed as err:
            log.warning("a token was not checked: %s", err)
            raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"}) from err
        until = self._now() + self._remember_s
        if answer.get("active") is not True:
            return None, until
        check_times(answer, self._now(), LEEWAY_S, require_exp=False)
        if self._issuer is not None:
            check_issuer(answer, self._issuer)
        if self._audience is not None:
            check_audience(answer, self._audience)
        return auth_of(answer), min(until, expiry_of(answer))
