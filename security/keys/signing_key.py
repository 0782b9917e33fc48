"""The key that a service signs with: chosen from its own pairs, and chosen anew when they change."""

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

STAMP = "%Y%m%dT%H%M%SZ"


def own_names(names: Iterable[str], owner: str) -> list[str]:
    """Those that are names of the owner's own keys, oldest first: `<owner>`, and `<owner>-<time of its making>`."""
    own = re.compile(rf"{re.escape(owner)}(-\d{{8}}T\d{{6}}Z)?")
    return sorted(name for name in names if own.fullmatch(name))


def time_of_stamp(stamp: object) -> datetime | None:
    """The time that is written so, or None for what is no such time."""
    try:
        return datetime.strptime(str(stamp), STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def time_of_making(name: str, owner: str, files: Iterable[Path]) -> datetime | None:
    """When a key was made: as its name says, or when the last of its files was written; None if one has gone."""
    told = time_of_stamp(name.removeprefix(f"{owner}-"))
    if told is not None:
        return told
    try:
        return datetime.fromtimestamp(int(max(file.lstat().st_mtime for file in files)), UTC)
    except OSError:
        return None


@dataclass(frozen=True)
class SigningKey:
    """A private key whose public half is trusted. kid: what a token says it was signed with. made: when it was."""

    kid: str
    key: PrivateKey
    algorithm: str
    made: datetime


class SigningKeys:
    """The owner's own keys among those of a store. The oldest whole pair signs, younger ones wait, and public keys
    without a private one verify what was signed with them.

    So a rotation is one removal of a file. owner: what the names of the keys begin with.
    """

    def __init__(self, keys: KeyStore, owner: str) -> None:
        self._keys = keys
        self._owner = owner
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._current: SigningKey | None = None

    def current(self) -> SigningKey | None:
        """The key to sign with now, or None without one. A pair that cannot be used is named in the log, once."""
        generation = self._keys.generation
        with self._lock:
            if generation != self._generation:
                self._current = self._choose()
                self._generation = generation
            return self._current

    def pairs(self) -> list[str]:
        """The names of the owner's whole pairs; the first signs."""
        both = self._keys.verification_keys().keys() & self._keys.private_keys().keys()
        return own_names(both, self._owner)

    def public(self) -> list[VerificationKey]:
        """The owner's public keys, whether they sign, will sign or have signed."""
        _ = self._keys.generation
        trusted = self._keys.verification_keys()
        return [trusted[name] for name in own_names(trusted, self._owner)]

    def load(self, name: str) -> SigningKey:
        """The pair of this name. Raises: KeyException for a key that cannot be used, or whose public half is not its
        own: its tokens would be refused.
        """
        private = self._keys.get_private_key(name)
        public = self._keys.verification_keys()[name]
        key = private.private_key()
        if key.public_key() != public.key:
            raise KeyException(private.key_file, f"is not the private half of {name}.pub")
        made = time_of_making(name, self._owner, [Path(private.key_file)]) or datetime.now(UTC)
        return SigningKey(name, key, public.algorithms[0], made)

    def _choose(self) -> SigningKey | None:
        pairs = self.pairs()
        for name in pairs:
            try:
                chosen = self.load(name)
            except (KeyException, KeyError) as err:  # KeyError: it has gone this very moment
                log.error("a key is not signed with: %s", err)
                continue
            if self._current is not None and chosen.kid != self._current.kid:
                log.info("tokens are now signed with the key %s", chosen.kid)
            return chosen
        was = self._current
        if was is not None and was.kid in pairs:
            log.error("no key can be signed with anew: %s stays in use as it was", was.kid)
            return was
        return None
