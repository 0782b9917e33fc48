"""The key that a service signs tokens with, chosen again when its key files change."""

import logging
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from security.errors import KeyException
from security.keys.key_file import PrivateKey
from security.keys.store import KeyStore
from security.keys.verification_key import VerificationKey

log = logging.getLogger(__name__)

TIMESTAMP_FORMAT = "%Y%m%dT%H%M%SZ"


def own_key_names(names: Iterable[str], owner: str) -> list[str]:
    """Return the names of the owner's keys, oldest first: `<owner>` and `<owner>-<timestamp>`."""
    own = re.compile(rf"{re.escape(owner)}(-\d{{8}}T\d{{6}}Z)?")
    return sorted(name for name in names if own.fullmatch(name))


def parse_timestamp(text: object) -> datetime | None:
    """Return the time of a timestamp, or None if it is not one."""
    try:
        return datetime.strptime(str(text), TIMESTAMP_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def created_at(name: str, owner: str, files: Iterable[Path]) -> datetime | None:
    """Return when a key was created.

    Args:
        name: The name of the key, which may contain the time.
        owner: The prefix of own keys.
        files: The files of the key. If the name contains no time, the latest modification counts.

    Returns:
        The time, or None if a file no longer exists.
    """
    named = parse_timestamp(name.removeprefix(f"{owner}-"))
    if named is not None:
        return named
    try:
        return datetime.fromtimestamp(int(max(file.lstat().st_mtime for file in files)), UTC)
    except OSError:
        return None


@dataclass(frozen=True)
class SigningKey:
    """A private key whose public half is trusted.

    Args:
        kid: The key id for tokens.
        key: The private key.
        algorithm: The algorithm to sign with.
        created_at: When the key was created.
    """

    kid: str
    key: PrivateKey
    algorithm: str
    created_at: datetime


class SigningKeys:
    """The owner's key pairs in a store. The oldest complete pair signs; removing its private file is a rotation.

    Args:
        keys: The key store.
        owner: The prefix of the names of own keys.
    """

    def __init__(self, keys: KeyStore, owner: str) -> None:
        self._keys = keys
        self._owner = owner
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._current: SigningKey | None = None

    def current(self) -> SigningKey | None:
        """Return the key to sign with, or None. Unusable pairs are logged once per change and skipped."""
        generation = self._keys.generation
        with self._lock:
            if generation != self._generation:
                self._current = self._choose()
                self._generation = generation
            return self._current

    def pairs(self) -> list[str]:
        """Return the names of the complete pairs; the first one signs."""
        both = self._keys.verification_keys().keys() & self._keys.private_keys().keys()
        return own_key_names(both, self._owner)

    def public(self) -> list[VerificationKey]:
        """Return the owner's public keys: next, active and retiring."""
        _ = self._keys.generation
        trusted = self._keys.verification_keys()
        return [trusted[name] for name in own_key_names(trusted, self._owner)]

    def load(self, name: str) -> SigningKey:
        """Return the pair with a name.

        Raises:
            KeyException: If the private key cannot be used or does not match the public key.
        """
        private = self._keys.get_private_key(name)
        public = self._keys.verification_keys()[name]
        key = private.private_key()
        if key.public_key() != public.key:
            raise KeyException(private.key_file, f"is not the private half of {name}.pub")
        created = created_at(name, self._owner, [Path(private.key_file)]) or datetime.now(UTC)
        return SigningKey(name, key, public.algorithms[0], created)

    def _choose(self) -> SigningKey | None:
        pairs = self.pairs()
        for name in pairs:
            try:
                chosen = self.load(name)
            except (KeyException, KeyError) as err:  # KeyError: removed since pairs() was read
                log.error("skipping an unusable signing key: %s", err)
                continue
            if self._current is not None and chosen.kid != self._current.kid:
                log.info("tokens are now signed with the key %s", chosen.kid)
            return chosen
        previous = self._current
        if previous is not None and previous.kid in pairs:
            log.error("no signing key can be loaded; %s, loaded earlier, stays in use", previous.kid)
            return previous
        return None
