"""The directory of keys: public keys that tokens are trusted under, and a service's own private key."""

import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from security.errors import KeyException
from security.verification_key import VerificationKey, verification_key


class Key:
    """A key's file. public: whether it holds a public key.

    Raises: KeyException when it is not a file.
    """

    def __init__(self, key_file: str | PathLike[str], public: bool = False) -> None:
        self.key_file = str(key_file)
        self.public = public
        if not Path(key_file).is_file():
            raise KeyException(self.key_file, "does not exist or is not a file")

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


class KeyStore:
    """Key files by name. `<name>.pub` is public; `<name>` and `<name>.pem` are private; others are ignored.

    dir_path: a directory of them. keys: further ones, {name: file}. Every public key is trusted, once it is parsed
    and checked, which happens when a provider first asks for the keys.

    Raises: KeyException for a directory that cannot be read or a file that is none.
    """

    def __init__(
        self, dir_path: str | PathLike[str] | None = None, keys: Mapping[str, str | PathLike[str]] | None = None
    ) -> None:
        self._public: dict[str, Key] = {}
        self._private: dict[str, Key] = {}
        self._verification: dict[str, VerificationKey] | None = None
        self._lock = threading.RLock()
        self.generation = 0
        if dir_path is not None:
            self._add_directory(Path(dir_path))
        for name, file in (keys or {}).items():
            self.add_key(name, file)

    def _add_directory(self, folder: Path) -> None:
        try:
            files = sorted(folder.iterdir())
        except OSError as err:
            raise KeyException(str(folder), f"is not a readable directory of keys: {err.strerror}") from err
        for file in files:
            # Kubernetes puts its own folders (..data) beside the files
            if not file.name.startswith(".") and file.suffix.lower() in (".pub", ".pem", ""):
                if file.suffix.lower() != ".pub" and not file.is_file():
                    continue
                self.add_key(file.stem, file)

    @property
    def keys(self) -> dict[str, Key]:
        """Every key by name; the public one where there are both."""
        return {**self._private, **self._public}

    def add_key(self, key_name: str, key_file: str | PathLike[str]) -> None:
        """Add one more key, public if its file's name ends in `.pub`. Raises: KeyException."""
        public = str(key_file).lower().endswith(".pub")
        key = Key(key_file, public)
        with self._lock:
            (self._public if public else self._private)[key_name] = key
            self._verification = None
            self.generation += 1

    def get_key(self, name: str = "default", public: bool = True) -> Key:
        """The public (or private) key of this name. Raises: KeyException when there is none."""
        found = (self._public if public else self._private).get(name)
        if found is None:
            raise KeyException(name, f"there is no {'public' if public else 'private'} key of this name")
        return found

    def get_private_key(self, name: str = "default") -> Key:
        """The private key of this name. Raises: KeyException when there is none."""
        return self.get_key(name, public=False)

    def public_keys(self) -> dict[str, Key]:
        """Every public key by name."""
        return dict(self._public)

    def verification_keys(self) -> Mapping[str, VerificationKey]:
        """Every public key by name, parsed and checked. Raises: KeyException, naming the first that cannot be used."""
        found = self._verification
        if found is None:
            with self._lock:  # or keys that were replaced while they were parsed could come back
                found = {name: key.verification_key(name) for name, key in sorted(self._public.items())}
                self._verification = found
        return found

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """For a token without a key id, which is what Microkubes issues, every key; else the one of that name."""
        keys = self.verification_keys()
        if kid is None:
            return list(keys.values())
        return [keys[kid]] if kid in keys else []
