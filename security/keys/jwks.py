"""Keys published by an authorization server: a JWK set (RFC 7517), found by URL or by discovery (RFC 8414)."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from security.errors import KeyException, SecurityException
from security.json_client import FetchFailed, fetch_json, is_protected, require_https
from security.keys.jwk import parse_jwk
from security.keys.verification_key import VerificationKey

log = logging.getLogger(__name__)

LIFETIME_S = 300.0
COOLDOWN_S = 10.0
MAX_STALE_S = 86_400.0
TIMEOUT_S = 5.0


class JwksKeys:
    """The keys of a JWK set, fetched on first use and cached.

    A fetch fails if no usable key arrives: the server is unreachable, or the set is empty, unusable or not a JWK set.
    Then the last good keys stay in use, but only for `max_stale_s`. Each failure is logged, and counted in
    `failed_fetches`.

    Args:
        url: The URL of the set.
        issuer: The authorization server whose metadata names that URL, instead of `url`.
        lifetime_s: The age at which the set is fetched again, in seconds.
        cooldown_s: The shortest time between two fetches, in seconds. Unknown key ids cause a fetch, so this limits
            how often forged tokens can.
        max_stale_s: How long the last good keys stay trusted while fetches fail, in seconds.
        timeout_s: How long a request waits for a fetch, in seconds.
        now: A monotonic clock, in seconds.

    Raises:
        ValueError: If neither or both of `url` and `issuer` are given, or the one given is not https (http is allowed
            on the loopback interface).
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        issuer: str | None = None,
        lifetime_s: float = LIFETIME_S,
        cooldown_s: float = COOLDOWN_S,
        max_stale_s: float = MAX_STALE_S,
        timeout_s: float = TIMEOUT_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if (url is None) == (issuer is None):
            raise ValueError("exactly one of url and issuer is required")
        self._url = None if url is None else require_https(url)
        self._issuer = None if issuer is None else require_https(issuer)
        self._lifetime_s = lifetime_s
        self._cooldown_s = cooldown_s
        self._max_stale_s = max_stale_s
        self._timeout_s = timeout_s
        self._now = now
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] = ()
        self._pending: tuple[threading.Event, float] | None = None  # the fetch in progress, and its deadline
        self._attempted_at: float | None = None
        self._fetched_at: float | None = None
        self._generation = 0
        self._unusable: frozenset[str] = frozenset()  # what has been logged about the current set
        self.failed_fetches = 0

    @property
    def generation(self) -> int:
        """A number that changes with the set, which is fetched first if it is too old."""
        if self._is_due():
            self._refresh()
        if self._keys and not self._is_current():
            log.warning("dropping all keys: the last successful fetch was more than %.0f s ago", self._max_stale_s)
            self._replace(())
        return self._generation

    def current_generation(self) -> int | None:
        """Return the generation if the keys are still trusted, otherwise None. Never waits for a fetch."""
        if not self._is_current():
            return None
        if self._is_due():
            self._refresh(wait=False)
        return self._generation

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """Return the keys with a key id, or all keys if it is None. An unknown id causes a fetch.

        Raises:
            SecurityException: With status 503, if no set could be fetched.
        """
        _ = self.generation
        if not self._keys and not self._is_current():
            raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"})
        if kid is None:
            return self._keys
        found = self._named(kid)
        if not found:
            self._refresh()
            found = self._named(kid)
        return found

    def _is_due(self) -> bool:
        return self._fetched_at is None or self._now() - self._fetched_at >= self._lifetime_s

    def _is_current(self) -> bool:
        return self._fetched_at is not None and self._now() - self._fetched_at < self._max_stale_s

    def _named(self, kid: str) -> Sequence[VerificationKey]:
        return [key for key in self._keys if key.name == kid]

    def _refresh(self, wait: bool = True) -> None:
        """Fetch the set in the background, unless the last attempt was within the cooldown.

        The caller that starts a fetch waits for it, as do all callers while no keys are cached, but only until the
        timeout: a slow server must not block every thread of the service.

        Args:
            wait: Whether the caller may wait.
        """
        with self._lock:
            starts = self._pending is None
            if starts:
                if self._attempted_at is not None and self._now() - self._attempted_at < self._cooldown_s:
                    return
                done = threading.Event()
                self._pending = done, time.monotonic() + self._timeout_s
                fetch = partial(copy_context().run, self._fetch, done)  # belongs to the trace of the request
                threading.Thread(target=fetch, name="jwks", daemon=True).start()
            assert self._pending is not None
            done, deadline = self._pending
        if wait and (starts or not self._keys):
            done.wait(max(0.0, deadline - time.monotonic()))

    def _fetch(self, done: threading.Event) -> None:
        try:
            self._replace(self._parse(fetch_json("GET", self._resolve_url())))
            self._fetched_at = self._now()
        except FetchFailed as err:
            self.failed_fetches += 1
            log.warning("fetching the keys failed, keeping the earlier ones (%d): %s", len(self._keys), err)
        finally:
            with self._lock:
                self._attempted_at = self._now()
                self._pending = None
            done.set()

    def _parse(self, document: dict[str, Any]) -> tuple[VerificationKey, ...]:
        """Return the usable keys of a JWK set. The others are logged when they are new.

        Raises:
            FetchFailed: If the set has no usable key.
        """
        members = document.get("keys")
        if not isinstance(members, list):
            raise FetchFailed("the JWK set has no list of keys")
        keys, unusable = [], []
        for member in members:
            try:
                key = parse_jwk(member)
            except KeyException as err:
                unusable.append(str(err))
                continue
            if key is not None:
                keys.append(key)
        for reason in dict.fromkeys(unusable):
            if reason not in self._unusable:
                log.warning("skipping an unusable key of the JWK set: %s", reason)
        self._unusable = frozenset(unusable)
        if not keys:
            raise FetchFailed("no key of the JWK set can verify tokens")
        return tuple(keys)

    def _replace(self, keys: tuple[VerificationKey, ...]) -> None:
        if keys != self._keys:
            self._keys = keys
            self._generation += 1

    def _resolve_url(self) -> str:
        if self._url is None:
            self._url = _discover(str(self._issuer))
        return self._url


def _discover(issuer: str) -> str:
    """Return the URL of the JWK set from the issuer's metadata (RFC 8414, section 3).

    Raises:
        FetchFailed: If the metadata cannot be fetched or is invalid.
    """
    scheme, _, rest = issuer.partition("://")
    host, _, path = rest.partition("/")
    suffix = f"/{path}".rstrip("/") if path else ""
    metadata = fetch_json("GET", f"{scheme}://{host}/.well-known/oauth-authorization-server{suffix}")
    if metadata.get("issuer") != issuer:  # section 3.3: otherwise one server could impersonate another
        raise FetchFailed(f"the metadata of {issuer} names another issuer")
    url = str(metadata.get("jwks_uri"))
    # Metadata fetched over https must not lead to plain http, not even on the loopback interface.
    if not is_protected(url) or (scheme == "https" and not url.startswith("https://")):
        raise FetchFailed(f"the metadata of {issuer} has no usable jwks_uri")
    return url
