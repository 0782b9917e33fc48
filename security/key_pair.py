"""Making an RSA key pair."""

import os
from os import PathLike
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from security.errors import KeyException


def write_key_pair(directory: str | PathLike[str], name: str, bits: int = 2048) -> None:
    """Write a new pair: `<name>` (PKCS#8 PEM, readable by its owner only) and `<name>.pub` (SPKI PEM).

    The public key appears last, so that a pair which was interrupted is never trusted. An existing file stays.

    Raises: KeyException when a file of either name exists or cannot be written.
    """
    folder = Path(directory)
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for path, content, mode in ((folder / name, private, 0o600), (folder / f"{name}.pub", public, 0o644)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
        except OSError as err:
            raise KeyException(str(path), f"cannot be written: {err.strerror}") from err
