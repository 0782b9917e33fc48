"""The directory of keys: public keys that tokens are trusted under, and a service's own private key."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from security.errors import KeyException
from security.verification_key import VerificationKey, verification_key

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5  # a key that is taken away is trusted no longer than this
UNKNOWN_KEY_INTERVAL_S = 0.1  # tokens with made-up key ids cannot have the files looked at more often


class Key:
    """A key's file. public: whether it holds a public key.

    Raises: KeyException when it is not a file.
    """

    def __init__(self, key_file: str | PathLike[str], public: bool = False) -> None:
        self.key_file = str(key_file)
        self.public = public
        if not Path(key_file).is_file():
            raise KeyException(self.key_file, "does not exist or is not a file")

    def mark(self) -> tuple[int, int, int]:
        """What changes when the file does, or when a link leads to another one. Raises: KeyException."""
        try:
            found = Path(self.key_file).stat()
        except OSError as err:
            raise KeyException(self.key_file, f"cannot be read: {err.strerror}") from err
        return found.st_ino, found.st_mtime_ns, found.st_size

    def load(self) -> bytes:
        """The file's bytes, whatever they are. Raises: KeyException when it cannot be read."""
        try:
            return Path(self.key_file).read_bytes()
        except OSError as err:
            raise KeyException(self.key_file, f"cannot be read: {err.strerror}") from err

    def verification_key(self, name: str) -> VerificationKey:
        """The checked public key (PEM, SPKI or PKCS#1), under this name. Raises: KeyException, naming the file."""
        try:
            key = load_pem_public_key(self.load())
        except (ValueError, UnsupportedAlgorithm) as err:
            raise KeyException(self.key_file, "is not a public key in PEM (expected BEGIN PUBLIC KEY)") from err
        try:
            return verification_key(name, key)
        except KeyException as err:
            raise KeyException(self.key_file, str(err).partition(": ")[2]) from err

    def private_key(self) -> RSAPrivateKey | EllipticCurvePrivateKey:
        """The checked private key (PEM, PKCS#8 or PKCS#1, without a pass phrase). Raises: KeyException."""
        try:
            key = load_pem_private_key(self.load(), password=None)
        except TypeError as err:
            raise KeyException(self.key_file, "is encrypted; a service's key has no pass phrase") from err
        except (ValueError, UnsupportedAlgorithm) as err:
            raise KeyException(self.key_file, "is not a private key in PEM (expected BEGIN PRIVATE KEY)") from err
        verification_key(self.key_file, key.public_key() if hasattr(key, "public_key") else key)
        assert isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey)
        return key


@dataclass(frozen=True)
class _Files:
    """The key files as they were found at one moment. marks: what tells whether one of them has changed since."""

    public: Mapping[str, Key]
    private: Mapping[str, Key]
    marks: Mapping[str, tuple[int, int, int]]


class KeyStore:
    """Key files by name. `<name>.pub` is public; `<name>` and `<name>.pem` are private; others are ignored.

    dir_path: a directory of them. keys: further ones, {name: file}. Every public key is trusted, once it is parsed
    and checked, which happens when a provider first asks for the keys.

    From then on the files are looked at again, at most every CHECK_INTERVAL_S and at once for a key id that is not
    known. A change is taken up whole or not at all: while a file of it cannot be used, that file is named in the log
    and the keys stay as they were. `generation` counts the changes. now: a clock, in seconds.

    Raises: KeyException for a directory that cannot be read or a file that is none.
    """

    def __init__(
        self,
        dir_path: str | PathLike[str] | None = None,
        keys: Mapping[str, str | PathLike[str]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = None if dir_path is None else Path(dir_path)
        self._named = [(name, Path(file)) for name, file in (keys or {}).items()]
        self._now = now
        self._lock = threading.RLock()
        self._files = self._look()
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

    def verification_keys(self) -> Mapping[str, VerificationKey]:
        """Every public key by name, parsed and checked. Raises: KeyException, naming the first that cannot be used."""
        found = self._verification
        if found is None:
            with self._lock:  # or keys that were replaced while they were parsed could come back
                found = self._verification = _parsed(self._files)
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

    def _look(self) -> _Files:
        """The files as they are now. Raises: KeyException."""
        found: list[tuple[str, Path]] = []
        if self._folder is not None:
            try:
                entries = sorted(self._folder.iterdir())
            except OSError as err:
                raise KeyException(str(self._folder), f"is not a readable directory of keys: {err.strerror}") from err
            for file in entries:
                kind = file.suffix.lower()
                # Kubernetes puts folders of its own (..data) beside the files
                if kind == ".pub" or (kind in (".pem", "") and not file.name.startswith(".") and file.is_file()):
                    found.append((file.stem, file))
        public: dict[str, Key] = {}
        private: dict[str, Key] = {}
        marks = {}
        for name, file in [*found, *self._named]:
            key = Key(file, file.suffix.lower() == ".pub")
            (public if key.public else private)[name] = key
            marks[key.key_file] = key.mark()
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
        except KeyException as err:
            if str(err) != self._complaint:
                log.error("the keys stay as they were, a change cannot be taken up: %s", err)
                self._complaint = str(err)
        finally:
            self._lock.release()


def _parsed(files: _Files) -> dict[str, VerificationKey]:
    return {name: key.verification_key(name) for name, key in sorted(files.public.items())}
