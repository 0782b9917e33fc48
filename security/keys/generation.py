"""Generation of RSA key pairs."""

from os import PathLike
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from security.errors import KeyException
from security.files import write_atomic

RSA_BITS = 2048


def write_key_pair(directory: str | PathLike[str], name: str, bits: int = RSA_BITS) -> None:
    """Create a key pair: `<name>` (PKCS#8 PEM, readable by its owner only) and `<name>.pub` (SPKI PEM).

    The public key is written last, so that an incomplete pair is never trusted.

    Args:
        directory: The key directory.
        name: The name of the pair.
        bits: The size of the key.

    Raises:
        KeyException: If one of the files exists or cannot be written.
    """
    private, public = Path(directory) / name, Path(directory) / f"{name}.pub"
    for path in (private, public):
        if path.exists():
            raise KeyException(str(path), "already exists")
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    encoding = serialization.Encoding.PEM
    try:
        write_atomic(
            private,
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            0o600,
        )
        write_atomic(
            public, key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo), 0o644
        )
    except OSError as err:
        raise KeyException(str(private), f"cannot be written: {err.strerror}") from err
