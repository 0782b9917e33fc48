"""Verification of signed tokens, with a cache of verified ones."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from jwt.api_jws import PyJWS

from security.auth import Auth
from security.errors import InvalidToken
from security.keys.verification_key import ALGORITHMS, LEEWAY_S, KeySource
from security.tokens.claims import verify_claims
from security.tokens.jws import CompactToken, parse_compact

REMEMBERED_TOKENS = 10_000
MAX_REMEMBERED_CHARS = 4096  # bounds the memory of the cache; longer tokens are verified each time


class TokenVerifier:
    """Verifies the signature, the times, the issuer and the audience of signed tokens.

    Verified tokens are cached until they expire or the keys change. The keys of the cache are the tokens themselves: a
    digest would cost more than the rest of the lookup, and would protect little, because the memory of the process
    holds each token when it arrives. The cache is never written to a disk or a log.

    Args:
        keys: The source of the trusted keys.
        algs: The accepted algorithms, of `ALGORITHMS`; all by default. A key verifies only algorithms of its type.
        issuer: The required issuer, if any.
        audience: The required audience, if any.
        require_exp: Whether tokens must expire.
        leeway_s: The tolerated clock difference, in seconds.
        remember: How many verified tokens to cache.
        now: The clock, in seconds since the epoch.

    Raises:
        ValueError: If an algorithm is not supported, or none is given.
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
            unsupported = ", ".join(sorted(self.algs)) or "none"
            raise ValueError(f"algs must be some of {', '.join(ALGORITHMS)}, not {unsupported}")
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._require_exp = require_exp
        self._leeway_s = leeway_s
        self._now = now
        self._jws = PyJWS(algorithms=sorted(self.algs))
        self._lock = threading.Lock()
        self._remember = remember
        # By token: the identity, when it expires, and the generation of the keys. The oldest entry comes first.
        self._verified: OrderedDict[str, tuple[Auth, float, int]] = OrderedDict()

    def cached(self, token: str) -> Auth | None:
        """Return the identity of a token that has been verified before; None if `verify` must decide.

        It never blocks and reads no file, so that an event loop may call it.
        """
        entry = self._verified.get(token)
        if entry is None:
            return None
        auth, expires, generation = entry
        if generation != self._keys.current_generation() or expires + self._leeway_s <= self._now():
            return None
        return auth

    def verify(self, token: str) -> Auth:
        """Return the identity of a token.

        Raises:
            InvalidToken: If the token is invalid. The message contains no part of the token.
        """
        cached = self._verified.get(token)
        # Parsed before the keys are read: a malformed token must not cause a request for keys.
        parsed = parse_compact(token) if cached is None else None
        generation = self._keys.generation
        if cached is not None and cached[2] == generation:
            auth, expires, _ = cached
            if expires + self._leeway_s <= self._now():
                raise InvalidToken("the token has expired")
            return auth
        auth, expires = self._verify_uncached(parsed or parse_compact(token))
        # The generation from before the verification: if the keys changed during it, the entry is already stale.
        self._store(token, (auth, expires, generation))
        return auth

    def _store(self, token: str, entry: tuple[Auth, float, int]) -> None:
        if len(token) > MAX_REMEMBERED_CHARS:
            return
        with self._lock:
            self._verified[token] = entry
            self._verified.move_to_end(token)  # it may replace an entry with older keys
            while len(self._verified) > self._remember:
                self._verified.popitem(last=False)

    def _verify_uncached(self, token: CompactToken) -> tuple[Auth, float]:
        self._check_signature(token)
        return verify_claims(
            token.claims(),
            self._now(),
            leeway_s=self._leeway_s,
            require_exp=self._require_exp,
            issuer=self._issuer,
            audience=self._audience,
        )

    def _check_signature(self, token: CompactToken) -> None:
        if token.algorithm not in self.algs:
            raise InvalidToken("the token is signed with an algorithm that is not accepted")
        algorithm = self._jws.get_algorithm_by_name(token.algorithm)
        candidates = self._keys.candidates(token.kid)
        if not candidates:
            raise InvalidToken("the token names a key that is not trusted")
        for candidate in candidates:
            if token.algorithm in candidate.algorithms and algorithm.verify(
                token.signed, candidate.key, token.signature
            ):
                return
        raise InvalidToken("no trusted key verifies the token's signature")
