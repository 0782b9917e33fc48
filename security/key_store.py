"""The directory of keys: public keys that tokens are trusted under, and a service's own private key."""

from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from security.errors import KeyException

MIN_RSA_BITS = 2048  # NIST SP 800-131A, revision 2: shorter RSA keys are disallowed


class Key:
    """One key in a PEM file: PKCS#1, PKCS#8 or SPKI. Parsed once, when it is first used."""

    def __init__(self, key_file: str | PathLike[str], name: str | None = None) -> None:
        self.key_file = Path(key_file)
        self.name = name or self.key_file.name

    def load(self) -> bytes:
        """The file's bytes. Raises: KeyException when it cannot be read."""
        try:
            return self.key_file.read_bytes()
        except OSError as err:
            raise KeyException(str(self.key_file), f"cannot be read: {err.strerror}") from err

    @cached_property
    def public(self) -> RSAPublicKey:
        """The checked RSA public key. Raises: KeyException."""
        try:
            key = load_pem_public_key(self.load())
        except (ValueError, UnsupportedAlgorithm) as err:
            raise KeyException(str(self.key_file), "is not a public key in PEM (expected BEGIN PUBLIC KEY)") from err
        if not isinstance(key, RSAPublicKey):
            raise KeyException(str(self.key_file), "is not an RSA key")
        self._check_size(key.key_size)
        return key

    @cached_property
    def private(self) -> RSAPrivateKey:
        """The checked RSA private key. Raises: KeyException."""
        try:
            key = load_pem_private_key(self.load(), password=None)
        except TypeError as err:
            raise KeyException(str(self.key_file), "is encrypted; a service's key has no pass phrase") from err
        except (ValueError, UnsupportedAlgorithm) as err:
            raise KeyException(str(self.key_file), "is not a private key in PEM (expected BEGIN PRIVATE KEY)") from err
        if not isinstance(key, RSAPrivateKey):
            raise KeyException(str(self.key_file), "is not an RSA key")
        self._check_size(key.key_size)
        return key

    def _check_size(self, bits: int) -> None:
        if bits < MIN_RSA_BITS:
            raise KeyException(str(self.key_file), f"has {bits} bits; at least {MIN_RSA_BITS} are needed")


class KeyStore:
    """Keys by name. In a directory, `<name>.pub` is a public key and `<name>` the private key beside it.

    dir_path: the directory; every public key in it is trusted. keys: further public keys, {name: file}.

    Raises: KeyException for a directory that cannot be read and for a public key that cannot be used, naming it.
    """

    def __init__(
        self, dir_path: str | PathLike[str] | None = None, keys: Mapping[str, str | PathLike[str]] | None = None
    ) -> None:
        self.dir_path = None if dir_path is None else Path(dir_path)
        self.keys: dict[str, Key] = {}
        if self.dir_path is not None:
            try:
                files = sorted(path for path in self.dir_path.iterdir() if path.suffix == ".pub")
            except OSError as err:
                raise KeyException(str(self.dir_path), f"is not a readable directory of keys: {err.strerror}") from err
            for path in files:
                self.add_key(path.stem, path)
        for name, file in (keys or {}).items():
            self.add_key(name, file)

    def add_key(self, name: str, key_file: str | PathLike[str]) -> None:
        """Trust one more public key under this name."""
        key = Key(key_file, name)
        _ = key.public  # parsed now: a key that cannot be used stops the start, not a request
        self.keys[name] = key

    def get_key(self, name: str = "default") -> Key:
        """The public key of this name. Raises: KeyException when there is none."""
        try:
            return self.keys[name]
        except KeyError as err:
            raise KeyException(name, "there is no public key of this name") from err

    def get_private_key(self, name: str = "default") -> Key:
        """The private key of this name, from the directory. Raises: KeyException when there is none."""
        if self.dir_path is None or not (self.dir_path / name).is_file():
            raise KeyException(name, "there is no private key of this name")
        return Key(self.dir_path / name, name)

    def public_keys(self) -> list[tuple[str, Key]]:
        """Every trusted key with its name, in the order of names."""
        return sorted(self.keys.items())
