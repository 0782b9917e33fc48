"""The directory of keys: public keys that tokens are trusted under, and a service's own private key."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from security.errors import KeyException
from security.files import Mark
from security.keys.key_file import Key, kind_of
from security.keys.verification_key import VerificationKey

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5  # a key that is taken away is trusted no longer than this
UNKNOWN_KEY_INTERVAL_S = 0.1  # tokens with made-up key ids cannot have the files looked at more often


@dataclass(frozen=True)
class _Files:
    """The key files as they were found at one moment. marks: what tells whether one of them has changed since."""

    public: Mapping[str, Key]
    private: Mapping[str, Key]
    marks: Mapping[str, Mark]


class KeyStore:
    """Key files by name. `<name>.pub` is public; `<name>` and `<name>.pem` are private; others are ignored.

    dir_path: a directory of them. keys: further ones, {name: file}. Every public key is trusted, once it is parsed
    and checked, which happens when a provider first asks for the keys.

    From then on the files are looked at again, at most every CHECK_INTERVAL_S and at once for a key id that is not
    known. A change is taken up whole or not at all: while a file of it cannot be used, that file is named in the log
    and the keys stay as they were. Only a public key whose file is gone is not trusted any more, whatever is wrong
    with others. `generation` counts the changes. now: a clock, in seconds. strict: whether a key that cannot be used is
    an error at first; otherwise it is named in the log and left out, as for a process that replaces one that runs.

    Raises: KeyException for a directory that cannot be read or a file that is none.
    """

    def __init__(
        self,
        dir_path: str | PathLike[str] | None = None,
        keys: Mapping[str, str | PathLike[str]] | None = None,
        now: Callable[[], float] = time.monotonic,
        strict: bool = True,
    ) -> None:
        self._folder = None if dir_path is None else Path(dir_path)
        self._named = [(name, Path(file)) for name, file in (keys or {}).items()]
        self._now = now
        self._strict = strict
        self._lock = threading.RLock()
        self._files = self._look(strict)
        self._verification: Mapping[str, VerificationKey] | None = None
        self._generation = 0
        self._looked_at = now()
        self._complaint = ""

    @property
    def keys(self) -> dict[str, Key]:
        """Every key by name; the public one where there are both."""
        return {**self._files.private, **self._files.public}

    @property
    def generation(self) -> int:
        """How often the keys have changed; looks whether they just have."""
        self._notice_changes(CHECK_INTERVAL_S)
        return self._generation

    def add_key(self, key_name: str, key_file: str | PathLike[str]) -> None:
        """Add one more key, public if its file's name ends in `.pub`. Raises: KeyException."""
        with self._lock:
            self._named.append((key_name, Path(key_file)))
            try:
                self._files = self._look()
            except KeyException:
                self._named.pop()
                raise
            self._verification = None
            self._generation += 1

    def get_key(self, name: str = "default", public: bool = True) -> Key:
        """The public (or private) key of this name. Raises: KeyException when there is none."""
        found = (self._files.public if public else self._files.private).get(name)
        if found is None:
            raise KeyException(name, f"there is no {'public' if public else 'private'} key of this name")
        return found

    def get_private_key(self, name: str = "default") -> Key:
        """The private key of this name. Raises: KeyException when there is none."""
        return self.get_key(name, public=False)

    def public_keys(self) -> dict[str, Key]:
        """Every public key by name."""
        return dict(self._files.public)

    def private_keys(self) -> dict[str, Key]:
        """Every private key by name."""
        return dict(self._files.private)

    def verification_keys(self) -> Mapping[str, VerificationKey]:
        """Every public key by name, parsed and checked. Raises: KeyException, naming the first that cannot be used."""
        found = self._verification
        if found is None:
            with self._lock:  # or keys that were replaced while they were parsed could come back
                found = self._verification = _parsed(self._files, self._strict)
        return found

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """For a token without a key id, which is what Microkubes issues, every key; else the one of that name."""
        keys = self.verification_keys()
        if kid is None:
            return list(keys.values())
        if kid not in keys:
            self._notice_changes(UNKNOWN_KEY_INTERVAL_S)
            keys = self.verification_keys()
        return [keys[kid]] if kid in keys else []

    def _look(self, strict: bool = True) -> _Files:
        """The files as they are now. Raises: KeyException."""
        found: list[tuple[str, Path]] = []
        if self._folder is not None:
            try:
                entries = sorted(self._folder.iterdir())
            except OSError as err:
                unread = KeyException(str(self._folder), f"is not a readable directory of keys: {err.strerror}")
                if strict:
                    raise unread from err
                log.error("%s", unread)
                entries = []
            found = [(file.stem, file) for file in entries if kind_of(file)]
        public: dict[str, Key] = {}
        private: dict[str, Key] = {}
        marks = {}
        for name, file in [*found, *self._named]:
            try:
                key = Key(file, file.suffix.lower() == ".pub")
                marks[key.key_file] = key.mark()
            except KeyException as err:
                if strict:
                    raise
                log.error("left out: %s", err)
                continue
            (public if key.public else private)[name] = key
        return _Files(public, private, marks)

    def _notice_changes(self, interval_s: float) -> None:
        """Take up what has changed since the files were last looked at, unless that was a moment ago."""
        if self._verification is None or self._now() - self._looked_at < interval_s:
            return
        if not self._lock.acquire(blocking=False):
            return  # somebody else is looking
        try:
            self._looked_at = self._now()
            files = self._look()
            if files.marks != self._files.marks:
                self._verification, self._files = _parsed(files), files
                self._generation += 1
                log.info("the keys have changed; trusted are: %s", ", ".join(files.public) or "none")
            self._complaint = ""
        except Exception as err:  # whatever a file may hold: requests go on under the last good keys
            if str(err) != self._complaint:
                log.error("the keys stay as they were, a change cannot be taken up: %s", err)
                self._complaint = str(err)
            self._forget_what_is_gone()
        finally:
            self._lock.release()

    def _forget_what_is_gone(self) -> None:
        """A leaked key must be out at once; a directory that is gone as a whole says nothing of its keys."""
        if self._folder is None or not self._folder.is_dir():
            return
        trusted = self._verification or {}
        kept = {name: key for name, key in trusted.items() if os.path.exists(self._files.public[name].key_file)}
        if len(kept) < len(trusted):
            public = {name: key for name, key in self._files.public.items() if name in kept}
            self._verification, self._files = kept, replace(self._files, public=public)
            self._generation += 1
            log.warning("trusted no more, since they are gone: %s", ", ".join(sorted(trusted.keys() - kept.keys())))


def _parsed(files: _Files, strict: bool = True) -> dict[str, VerificationKey]:
    found = {}
    for name, key in sorted(files.public.items()):
        try:
            found[name] = key.verification_key(name)
        except KeyException as err:
            if strict:
                raise
            log.error("left out: %s", err)
    return found
