"""Key files in PEM: public (SPKI, PKCS#1 or a certificate) or private (PKCS#8 or PKCS#1)."""

import base64
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import (
    Certificate,
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    KeyUsage,
    UnsupportedGeneralNameType,
    load_pem_x509_certificate,
)

from security.errors import KeyException
from security.files import Fingerprint, fingerprint, read_bounded
from security.keys.pss import restriction
from security.keys.verification_key import VerificationKey, to_verification_key

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

_UNREADABLE = (ValueError, UnsupportedAlgorithm, InvalidVersion)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def key_kind(file: Path) -> str | None:
    """Return the kind of a key file by its name: "public", "private", or None for other files."""
    suffix = file.suffix.lower()
    if suffix == ".pub":
        return "public"
    # Kubernetes adds hidden entries, such as ..data, to mounted secrets.
    if suffix in (".pem", "") and not file.name.startswith(".") and _is_file(file):
        return "private"
    return None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # for example a link into an inaccessible directory
        return False


def _may_sign(certificate: Certificate) -> bool:
    """Return whether a certificate's key may sign tokens (RFC 5280, section 4.2.1.3): any may without a key usage."""
    try:
        usage = certificate.extensions.get_extension_for_class(KeyUsage).value
    except ExtensionNotFound:
        return True
    return usage.digital_signature or usage.content_commitment


def _to_der(pem: bytes) -> bytes:
    """Return the content of a file that has been parsed as PEM."""
    _, _, encoded = pem.partition(b"-----BEGIN ")[2].partition(b"-----")
    return base64.b64decode(encoded.partition(b"-----")[0])


class Key:
    """A key file.

    Args:
        key_file: The path of the file.
        public: Whether the key is public.

    Raises:
        KeyException: If the path is not a file.
    """

    def __init__(self, key_file: str | PathLike[str], public: bool = False) -> None:
        self.key_file = str(key_file)
        self.public = public
        if not _is_file(Path(key_file)):
            raise KeyException(self.key_file, "does not exist or is not a file")

    def fingerprint(self) -> Fingerprint:
        """Return a value that changes with the file, or with the target of a link.

        Raises:
            KeyException: If the file cannot be read.
        """
        try:
            return fingerprint(Path(self.key_file))
        except OSError as err:
            raise KeyException(self.key_file, f"cannot be read: {err.strerror}") from err

    def load(self) -> bytes:
        """Return the content of the file, unchecked.

        Raises:
            KeyException: If the file cannot be read.
        """
        try:
            return read_bounded(Path(self.key_file))
        except OSError as err:
            raise KeyException(self.key_file, f"cannot be read: {err.strerror}") from err

    def verification_key(self, name: str) -> VerificationKey:
        """Return the public key under a name.

        Raises:
            KeyException: If the key cannot be used, naming the file.
        """
        pem = self._pem()
        try:
            if _CERTIFICATE in pem:
                certificate = load_pem_x509_certificate(pem)
                key: object = certificate.public_key()
                signs = _may_sign(certificate)
            else:
                key, signs = load_pem_public_key(pem), True
        except (*_UNREADABLE, DuplicateExtension, UnsupportedGeneralNameType) as err:
            raise KeyException(
                self.key_file, "is not a public key in PEM (expected BEGIN PUBLIC KEY or BEGIN CERTIFICATE)"
            ) from err
        if not signs:
            raise KeyException(self.key_file, "is a certificate whose key usage does not include digital signatures")
        only = restriction(_to_der(pem), key.public_numbers().n) if isinstance(key, RSAPublicKey) else None
        return self._checked(name, key, only)

    def private_key(self) -> PrivateKey:
        """Return the private key.

        Raises:
            KeyException: If the key cannot be used, naming the file.
        """
        try:
            key = load_pem_private_key(self._pem(), password=None)
        except TypeError as err:
            raise KeyException(self.key_file, "is encrypted; expected a key without a passphrase") from err
        except (ValueError, UnsupportedAlgorithm) as err:
            raise KeyException(self.key_file, "is not a private key in PEM (expected BEGIN PRIVATE KEY)") from err
        self._checked(self.key_file, key.public_key() if hasattr(key, "public_key") else key)
        assert isinstance(key, PrivateKey)
        return key

    def _pem(self) -> bytes:
        # Parsers ignore content after the first key, such as a second key or a partial write. Text before the key is
        # allowed (RFC 7468, section 2), and tools write it.
        content = self.load()
        _, _, end = content.partition(b"-----END ")
        _, _, rest = end.partition(b"-----")
        if rest.strip():
            raise KeyException(self.key_file, "has content after the key; expected a single key in PEM")
        return content

    def _checked(self, name: str, key: object, algorithms: Sequence[str] | None = None) -> VerificationKey:
        try:
            return to_verification_key(name, key, algorithms)
        except KeyException as err:
            raise KeyException(self.key_file, err.reason) from err
