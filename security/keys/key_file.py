"""A key's file: PEM, public (SPKI, PKCS#1 or a certificate) or private (PKCS#8 or PKCS#1)."""

from os import PathLike
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import InvalidVersion, load_pem_x509_certificate

from security.errors import KeyException
from security.files import Mark, mark
from security.keys.verification_key import VerificationKey, verification_key

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def kind_of(file: Path) -> str | None:
    """What a file's name says that it holds: "public", "private", or no key."""
    suffix = file.suffix.lower()
    if suffix == ".pub":
        return "public"
    # Kubernetes puts folders of its own (..data) beside the files
    if suffix in (".pem", "") and not file.name.startswith(".") and _is_file(file):
        return "private"
    return None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a link that leads nowhere one may look
        return False


class Key:
    """A key's file. public: whether it holds a public key.

    Raises: KeyException when it is not a file.
    """

    def __init__(self, key_file: str | PathLike[str], public: bool = False) -> None:
        self.key_file = str(key_file)
        self.public = public
        if not _is_file(Path(key_file)):
            raise KeyException(self.key_file, "does not exist or is not a file")

    def mark(self) -> Mark:
        """What changes when the file does, or when a link leads to another one. Raises: KeyException."""
        try:
            return mark(Path(self.key_file))
        except OSError as err:
            raise KeyException(self.key_file, f"cannot be read: {err.strerror}") from err

    def load(self) -> bytes:
        """The file's bytes, whatever they are. Raises: KeyException when it cannot be read."""
        try:
            return Path(self.key_file).read_bytes()
        except OSError as err:
            raise KeyException(self.key_file, f"cannot be read: {err.strerror}") from err

    def verification_key(self, name: str) -> VerificationKey:
        """The checked public key, under this name. Raises: KeyException, naming the file."""
        pem = self._pem()
        try:
            key = load_pem_x509_certificate(pem).public_key() if _CERTIFICATE in pem else load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm, InvalidVersion) as err:
            raise KeyException(
                self.key_file, "is not a public key in PEM (expected BEGIN PUBLIC KEY or BEGIN CERTIFICATE)"
            ) from err
        return self._checked(name, key)

    def private_key(self) -> PrivateKey:
        """The checked private key, which has no pass phrase. Raises: KeyException, naming the file."""
        try:
            key = load_pem_private_key(self._pem(), password=None)
        except TypeError as err:
            raise KeyException(self.key_file, "is encrypted; a service's key has no pass phrase") from err
        except (ValueError, UnsupportedAlgorithm) as err:
            raise KeyException(self.key_file, "is not a private key in PEM (expected BEGIN PRIVATE KEY)") from err
        self._checked(self.key_file, key.public_key() if hasattr(key, "public_key") else key)
        assert isinstance(key, PrivateKey)
        return key

    def _pem(self) -> bytes:
        # Whatever follows the key would be read by nobody, and a file that is being written may end anywhere. Text
        # before it is allowed (RFC 7468, section 2), and tools write such.
        content = self.load()
        _, _, behind = content.partition(b"-----END ")
        _, _, rest = behind.partition(b"-----")
        if rest.strip():
            raise KeyException(self.key_file, "has something behind its key; expected one key in PEM and no more")
        return content

    def _checked(self, name: str, key: object) -> VerificationKey:
        try:
            return verification_key(name, key)
        except KeyException as err:
            raise KeyException(self.key_file, err.reason) from err
