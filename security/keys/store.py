"""A key store: the trusted public keys and the private keys of a directory, reloaded when files change."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from security.background_check import BackgroundCheck
from security.errors import KeyException
from security.files import Fingerprint
from security.keys.key_file import Key, key_kind
from security.keys.verification_key import VerificationKey

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5
MAX_CHECK_AGE_S = 1.0  # a removed key stays trusted at most this long
UNKNOWN_KEY_INTERVAL_S = 0.1  # limits the scans that tokens with made-up key ids can cause


@dataclass(frozen=True)
class _Files:
    """The key files at one moment. The fingerprints are by path."""

    public: Mapping[str, Key]
    private: Mapping[str, Key]
    fingerprints: Mapping[str, Fingerprint]


class KeyStore:
    """Key files by name. `<name>.pub` is public; `<name>` and `<name>.pem` are private; others are ignored.

    Every public key is trusted. The keys are parsed on first use. From then on the store checks its files for changes
    every `CHECK_INTERVAL_S` seconds, and sooner for an unknown key id. A change is applied completely or not at all: if
    a file cannot be used, the error is logged and the current keys stay in use. Only the removal of a public key always
    takes effect.

    Args:
        dir_path: The key directory.
        keys: Additional key files, by name.
        now: A monotonic clock, in seconds.
        strict: Whether an unusable key is an error on the first load. Otherwise it is logged and skipped, so that a
            restarted process can replace a running one.
        kind: Returns the kind of a key file, "public" or "private", or None to ignore the file in a directory.

    Raises:
        KeyException: If the directory cannot be read or a key is not a file.
    """

    def __init__(
        self,
        dir_path: str | PathLike[str] | None = None,
        keys: Mapping[str, str | PathLike[str]] | None = None,
        now: Callable[[], float] = time.monotonic,
        strict: bool = True,
        kind: Callable[[Path], str | None] = key_kind,
    ) -> None:
        self._directory = None if dir_path is None else Path(dir_path)
        self._additional = [(name, Path(file)) for name, file in (keys or {}).items()]
        self._now = now
        self._strict = strict
        self._kind = kind
        self._lock = threading.RLock()
        self._files = self._scan(strict)
        self._verification: Mapping[str, VerificationKey] | None = None
        self._generation = 0
        self._scanned_at = self._checked_at = now()  # the starts of the last scan, and of the last finished one
        self._last_error = ""
        self._checks = BackgroundCheck(self._check_files, CHECK_INTERVAL_S)

    @property
    def keys(self) -> dict[str, Key]:
        """All keys by name. A public key hides the private key with the same name."""
        return {**self._files.private, **self._files.public}

    @property
    def generation(self) -> int:
        """A number that increases with every change of the keys. Reading it applies pending changes."""
        self._reload_if_changed(CHECK_INTERVAL_S)
        return self._generation

    def current_generation(self) -> int | None:
        """Return the generation if the files were checked within `MAX_CHECK_AGE_S`, otherwise None. Never blocks.

        The files are checked in the background while this method is in use.
        """
        if self._now() - self._checked_at < MAX_CHECK_AGE_S:
            self._checks.keep_running()
            return self._generation
        self._checks.start()
        return None

    def add_key(self, key_name: str, key_file: str | PathLike[str]) -> None:
        """Add a key, public if its file name ends with `.pub`.

        Raises:
            KeyException: If it is not a file.
        """
        with self._lock:
            self._additional.append((key_name, Path(key_file)))
            try:
                self._files = self._scan()
            except KeyException:
                self._additional.pop()
                raise
            self._verification = None
            self._generation += 1

    def get_key(self, name: str = "default", public: bool = True) -> Key:
        """Return the public or private key with a name.

        Raises:
            KeyException: If no such key exists.
        """
        found = (self._files.public if public else self._files.private).get(name)
        if found is None:
            raise KeyException(name, f"no such {'public' if public else 'private'} key")
        return found

    def get_private_key(self, name: str = "default") -> Key:
        """Return the private key with a name.

        Raises:
            KeyException: If no such key exists.
        """
        return self.get_key(name, public=False)

    def public_keys(self) -> dict[str, Key]:
        """Return the public keys by name."""
        return dict(self._files.public)

    def private_keys(self) -> dict[str, Key]:
        """Return the private keys by name."""
        return dict(self._files.private)

    def verification_keys(self) -> Mapping[str, VerificationKey]:
        """Return the parsed and checked public keys by name.

        Raises:
            KeyException: If a key cannot be used, naming the first one.
        """
        found = self._verification
        if found is None:
            with self._lock:  # a reload during parsing must not be overwritten with the old keys
                found = self._verification = _parse(self._files, self._strict)
        return found

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """Return the key with a key id, or all keys if it is None: Microkubes tokens have no key id."""
        keys = self.verification_keys()
        if kid is None:
            return list(keys.values())
        if kid not in keys:
            self._reload_if_changed(UNKNOWN_KEY_INTERVAL_S)
            keys = self.verification_keys()
        return [keys[kid]] if kid in keys else []

    def _scan(self, strict: bool = True) -> _Files:
        """Return the current files.

        Raises:
            KeyException: If `strict` and the directory or a file cannot be read.
        """
        found: list[tuple[str, Path]] = []
        if self._directory is not None:
            try:
                entries = sorted(self._directory.iterdir())
            except OSError as err:
                unreadable = KeyException(str(self._directory), f"is not a readable directory of keys: {err.strerror}")
                if strict:
                    raise unreadable from err
                log.error("%s", unreadable)
                entries = []
            found = [(file.stem, file) for file in entries if self._kind(file)]
        public: dict[str, Key] = {}
        private: dict[str, Key] = {}
        fingerprints = {}
        for name, file in [*found, *self._additional]:
            try:
                key = Key(file, self._kind(file) == "public")
                fingerprints[key.key_file] = key.fingerprint()
            except KeyException as err:
                if strict:
                    raise
                log.error("skipping an unusable key: %s", err)
                continue
            (public if key.public else private)[name] = key
        return _Files(public, private, fingerprints)

    def _check_files(self) -> None:
        self._reload_if_changed(0.0)

    def _reload_if_changed(self, interval_s: float) -> None:
        """Apply changes of the files, unless the last scan was less than `interval_s` seconds ago."""
        if self._verification is None or self._now() - self._scanned_at < interval_s:
            return
        if not self._lock.acquire(blocking=False):
            return  # another thread is scanning
        started_at = self._scanned_at = self._now()
        try:
            files = self._scan()
            if files.fingerprints != self._files.fingerprints:
                self._verification, self._files = _parse(files), files
                self._generation += 1
                log.info("reloaded the keys; trusted: %s", ", ".join(files.public) or "none")
            self._last_error = ""
        except Exception as err:  # no file content may fail requests: they continue with the current keys
            if str(err) != self._last_error:
                log.error("keeping the current keys; reload failed: %s", err)
                self._last_error = str(err)
            self._drop_removed()
        finally:
            self._checked_at = started_at
            self._lock.release()

    def _drop_removed(self) -> None:
        """Stop trusting removed public keys, unless the whole directory is missing."""
        if self._directory is None or not self._directory.is_dir():
            return
        trusted = self._verification or {}
        kept = {name: key for name, key in trusted.items() if os.path.exists(self._files.public[name].key_file)}
        if len(kept) < len(trusted):
            public = {name: key for name, key in self._files.public.items() if name in kept}
            self._verification, self._files = kept, replace(self._files, public=public)
            self._generation += 1
            log.warning("no longer trusting removed keys: %s", ", ".join(sorted(trusted.keys() - kept.keys())))


def _parse(files: _Files, strict: bool = True) -> dict[str, VerificationKey]:
    found = {}
    for name, key in sorted(files.public.items()):
        try:
            found[name] = key.verification_key(name)
        except KeyException as err:
            if strict:
                raise
            log.error("skipping an unusable key: %s", err)
    return found
