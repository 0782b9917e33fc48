"""Making an RSA key pair."""

from os import PathLike
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from security.errors import KeyException
from security.files import write_whole

RSA_BITS = 2048


def write_key_pair(directory: str | PathLike[str], name: str, bits: int = RSA_BITS) -> None:
    """Write a new pair: `<name>` (PKCS#8 PEM, readable by its owner only) and `<name>.pub` (SPKI PEM).

    The public key appears last, so that a pair whose making was interrupted is never trusted.

    Raises: KeyException when a file of either name exists or cannot be written.
    """
    private, public = Path(directory) / name, Path(directory) / f"{name}.pub"
    for path in (private, public):
        if path.exists():
            raise KeyException(str(path), "is there already")
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    encoding = serialization.Encoding.PEM
    try:
        write_whole(
            private,
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            0o600,
        )
        write_whole(
            public, key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo), 0o644
        )
    except OSError as err:
        raise KeyException(str(private), f"cannot be written: {err.strerror}") from err
