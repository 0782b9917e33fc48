"""Keys that an authorization server publishes: a JWK set (RFC 7517), found by its URL or by discovery (RFC 8414)."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from security.errors import KeyException
from security.json_fetch import FetchFailed, fetch_json, require_https
from security.verification_key import VerificationKey, verification_key

log = logging.getLogger(__name__)

LIFETIME_S = 300.0  # the set is fetched again at this age
COOLDOWN_S = 10.0  # and, for a key id that is not in it, at most this often: tokens cannot make a flood
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk}


class JwksKeys:
    """The keys of a JWK set, fetched when first needed and kept for a while.

    url: where the set is; or issuer: the authorization server whose metadata says where. A fetch that fails leaves
    the last set in use. lifetime_s, cooldown_s: seconds, see above. now: a clock, in seconds.

    Raises: ValueError when neither or both are given, or one is not https (http is accepted on this machine).
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        issuer: str | None = None,
        lifetime_s: float = LIFETIME_S,
        cooldown_s: float = COOLDOWN_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if (url is None) == (issuer is None):
            raise ValueError("a JWK set is found by its url or by its issuer, one of the two")
        self._url = None if url is None else require_https(url)
        self._issuer = None if issuer is None else require_https(issuer)
        self._lifetime_s = lifetime_s
        self._cooldown_s = cooldown_s
        self._now = now
        self._lock = threading.Lock()
        self._keys: tuple[VerificationKey, ...] = ()
        self._asked_at: float | None = None
        self._fetched_at: float | None = None
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes whenever the set does; looks at its age."""
        if self._fetched_at is None or self._now() - self._fetched_at >= self._lifetime_s:
            self._refresh()
        return self._generation

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys of this id, after one more look at the server when it is not known; all keys without an id."""
        _ = self.generation
        if kid is None:
            return self._keys
        found = self._named(kid)
        if not found:
            self._refresh()
            found = self._named(kid)
        return found

    def _named(self, kid: str) -> Sequence[VerificationKey]:
        return [key for key in self._keys if key.name == kid]

    def _refresh(self) -> None:
        """Fetch the set, unless that was tried a moment ago. Whoever finds a fetch under way uses what there is."""
        if self._is_cooling_down() or not self._lock.acquire(blocking=not self._keys):
            return
        try:
            if self._is_cooling_down():
                return  # somebody else has just done it
            keys = tuple(_usable(fetch_json("GET", self._where())))
            if keys != self._keys:
                self._keys = keys
                self._generation += 1
            self._fetched_at = self._now()
        except FetchFailed as err:
            log.warning("the keys were not refreshed: %s", err)
        finally:
            self._asked_at = self._now()
            self._lock.release()

    def _is_cooling_down(self) -> bool:
        return self._asked_at is not None and self._now() - self._asked_at < self._cooldown_s

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
    try:
        return require_https(str(metadata.get("jwks_uri")))
    except ValueError as err:
        raise FetchFailed(f"the metadata of {issuer} has no usable jwks_uri") from err


def _usable(document: dict[str, Any]) -> list[VerificationKey]:
    """The public keys of a JWK set that may verify signatures; others, such as shared secrets, are passed over."""
    members = document.get("keys")
    if not isinstance(members, list):
        raise FetchFailed("the JWK set has no list of keys")
    keys = []
    for member in members:
        if not isinstance(member, dict) or member.get("kty") not in _READERS or member.get("use", "sig") != "sig":
            continue
        try:
            public = {name: value for name, value in member.items() if name != "d"}
            keys.append(verification_key(str(member.get("kid", "")), _READERS[member["kty"]](public)))
        except (PyJWTError, KeyException, ValueError, TypeError) as err:
            log.warning("a key of the JWK set is passed over: %s", err)
    return keys
