"""Keys that an authorization server publishes: a JWK set (RFC 7517), found by its URL or by discovery (RFC 8414)."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from security.errors import KeyException, SecurityException
from security.json_client import FetchFailed, fetch_json, is_protected, require_https
from security.keys.jwk import key_from_jwk
from security.keys.verification_key import VerificationKey

log = logging.getLogger(__name__)

LIFETIME_S = 300.0  # the set is fetched again at this age
COOLDOWN_S = 10.0  # and, for a key id that is not in it, at most this often: tokens cannot make a flood
MAX_STALE_S = 86_400.0  # a server may be out of reach this long before its keys are trusted no more
PATIENCE_S = 5.0  # how long a request waits for a fetch, whatever the server does


class JwksKeys:
    """The keys of a JWK set, fetched when first needed and kept for a while.

    url: where the set is; or issuer: the authorization server whose metadata says where. A fetch that fails leaves
    the last set in use. lifetime_s, cooldown_s, max_stale_s, patience_s: seconds, see above. now: a clock, in seconds.

    Raises: ValueError when neither or both are given, or one is not https (http is accepted on this machine).
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        issuer: str | None = None,
        lifetime_s: float = LIFETIME_S,
        cooldown_s: float = COOLDOWN_S,
        max_stale_s: float = MAX_STALE_S,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if (url is None) == (issuer is None):
            raise ValueError("a JWK set is found by its url or by its issuer, one of the two")
        self._url = None if url is None else require_https(url)
        self._issuer = None if issuer is None else require_https(issuer)
        self._lifetime_s = lifetime_s
        self._cooldown_s = cooldown_s
        self._max_stale_s = max_stale_s
        self._patience_s = patience_s
        self._now = now
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] = ()
        self._under_way: tuple[threading.Event, float] | None = None  # and until when to wait for it
        self._asked_at: float | None = None
        self._fetched_at: float | None = None
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes whenever the set does; looks at its age."""
        if self._fetched_at is None or self._now() - self._fetched_at >= self._lifetime_s:
            self._refresh()
        if self._keys and not self._is_known():
            log.warning("the keys are trusted no more: they could not be refreshed for %.0f s", self._max_stale_s)
            self._take(())
        return self._generation

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys of this id, after one more look at the server when it is not known; all keys without an id.

        Raises: SecurityException 503 while there is no set of keys to look in.
        """
        _ = self.generation
        if not self._keys and not self._is_known():
            raise SecurityException("the token cannot be checked now", 503, {"Retry-After": "1"})
        if kid is None:
            return self._keys
        found = self._named(kid)
        if not found:
            self._refresh()
            found = self._named(kid)
        return found

    def _is_known(self) -> bool:
        return self._fetched_at is not None and self._now() - self._fetched_at < self._max_stale_s

    def _named(self, kid: str) -> Sequence[VerificationKey]:
        return [key for key in self._keys if key.name == kid]

    def _refresh(self) -> None:
        """Have the set fetched, unless that was tried a moment ago.

        Whoever starts the fetch waits for it, and so does whoever has no key at all, but only so long: a server that
        drips must not hold every thread of this service.
        """
        with self._lock:
            mine = self._under_way is None
            if mine:
                if self._asked_at is not None and self._now() - self._asked_at < self._cooldown_s:
                    return
                done = threading.Event()
                self._under_way = done, time.monotonic() + self._patience_s
                threading.Thread(target=self._fetch, args=(done,), name="jwks", daemon=True).start()
            assert self._under_way is not None
            done, until = self._under_way
        if mine or not self._keys:
            done.wait(max(0.0, until - time.monotonic()))

    def _fetch(self, done: threading.Event) -> None:
        try:
            self._take(tuple(_usable(fetch_json("GET", self._where()))))
            self._fetched_at = self._now()
        except FetchFailed as err:
            log.warning("the keys were not refreshed: %s", err)
        finally:
            with self._lock:
                self._asked_at = self._now()
                self._under_way = None
            done.set()

    def _take(self, keys: tuple[VerificationKey, ...]) -> None:
        if keys != self._keys:
            self._keys = keys
            self._generation += 1

    def _where(self) -> str:
        if self._url is None:
            self._url = _discover(str(self._issuer))
        return self._url


def _discover(issuer: str) -> str:
    """The JWK set's URL, from the issuer's metadata (RFC 8414, section 3). Raises: FetchFailed."""
    scheme, _, rest = issuer.partition("://")
    host, _, path = rest.partition("/")
    tail = f"/{path}".rstrip("/") if path else ""
    metadata = fetch_json("GET", f"{scheme}://{host}/.well-known/oauth-authorization-server{tail}")
    if metadata.get("issuer") != issuer:  # section 3.3: or one server could speak for another
        raise FetchFailed(f"the metadata of {issuer} names another issuer")
    found = str(metadata.get("jwks_uri"))
    # metadata that came over https must not lead to an unprotected server, of this machine least of all
    if not is_protected(found) or (scheme == "https" and not found.startswith("https://")):
        raise FetchFailed(f"the metadata of {issuer} has no usable jwks_uri")
    return found


def _usable(document: dict[str, Any]) -> list[VerificationKey]:
    """The public keys of a JWK set that may verify signatures; others, such as shared secrets, are passed over."""
    members = document.get("keys")
    if not isinstance(members, list):
        raise FetchFailed("the JWK set has no list of keys")
    keys = []
    for member in members:
        try:
            key = key_from_jwk(member)
        except KeyException as err:
            log.warning("a key of the JWK set is passed over: %s", err)
            continue
        if key is not None:
            keys.append(key)
    return keys
