"""From a token to the identity it proves: signature, times, issuer and audience, and a memory of those that held."""

import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256

from cachetools import LRUCache
from jwt.api_jws import PyJWS

from security.auth import Auth
from security.errors import InvalidToken
from security.keys.verification_key import ALGORITHMS, KeySource
from security.tokens.claims import LEEWAY_S, identity_of
from security.tokens.jws import CompactToken, take_apart

REMEMBERED_TOKENS = 10_000


class TokenVerifier:
    """Verifies signed tokens under the keys of a source.

    keys: where keys come from. algs: accepted algorithms, of ALGORITHMS; a key only ever verifies those of its type.
    issuer, audience: what `iss` and `aud` must say, when given. require_exp: whether a token must expire.
    leeway_s: seconds by which times may be missed. remember: how many verified tokens are kept, so that one that is
    shown again is not verified again; they are not believed once the keys have changed, and expire on time.
    now: the clock, in seconds.

    Raises: ValueError when no accepted algorithm remains.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        algs: Sequence[str] | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        require_exp: bool = True,
        leeway_s: float = LEEWAY_S,
        remember: int = REMEMBERED_TOKENS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.algs = frozenset(ALGORITHMS if algs is None else algs)
        if not self.algs or not self.algs <= set(ALGORITHMS):
            raise ValueError(f"algs are some of {', '.join(ALGORITHMS)}, not {', '.join(sorted(self.algs)) or 'none'}")
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._require_exp = require_exp
        self._leeway_s = leeway_s
        self._now = now
        self._jws = PyJWS(algorithms=sorted(self.algs))
        self._lock = threading.Lock()
        self._seen: LRUCache[bytes, tuple[Auth, float, int]] = LRUCache(max(1, remember))

    def verify(self, token: str) -> Auth:
        """The identity that the token proves. Raises: InvalidToken, with a reason that repeats nothing of it."""
        fingerprint = sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            seen = self._seen.get(fingerprint)
        # what is no token at all must not make the keys be looked for
        parts = take_apart(token) if seen is None else None
        generation = self._keys.generation
        if seen is not None and seen[2] == generation:
            auth, expires, _ = seen
            if expires + self._leeway_s <= self._now():
                raise InvalidToken("the token has expired")
            return auth
        auth, expires = self._verify_anew(parts or take_apart(token))
        with self._lock:
            # remembered under the keys that were there before: should they have changed meanwhile, it is not believed
            self._seen[fingerprint] = (auth, expires, generation)
        return auth

    def _verify_anew(self, parts: CompactToken) -> tuple[Auth, float]:
        self._check_signature(parts)
        return identity_of(
            parts.claims(),
            self._now(),
            leeway_s=self._leeway_s,
            require_exp=self._require_exp,
            issuer=self._issuer,
            audience=self._audience,
        )

    def _check_signature(self, parts: CompactToken) -> None:
        if parts.algorithm not in self.algs:
            raise InvalidToken("the token is signed with an algorithm that is not accepted")
        algorithm = self._jws.get_algorithm_by_name(parts.algorithm)
        candidates = self._keys.candidates(parts.kid)
        if not candidates:
            raise InvalidToken("the token names a key that is not trusted")
        for candidate in candidates:
            if parts.algorithm in candidate.algorithms and algorithm.verify(
                parts.signed, candidate.key, parts.signature
            ):
                return
        raise InvalidToken("no trusted key verifies the token's signature")
