"""Making an RSA key pair."""

import os
from os import PathLike
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from security.errors import KeyException
from security.key_store import Key


def write_key_pair(directory: str | PathLike[str], name: str, bits: int = 2048) -> None:
    """Write a new pair: `<name>` (PKCS#8 PEM, readable by its owner only) and `<name>.pub` (SPKI PEM).

    The public key appears last, so that a pair which was interrupted is never trusted. An existing file stays.

    Raises: KeyException when a file of either name exists or cannot be written.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if (Path(directory) / f"{name}.pub").exists():
        raise KeyException(f"{directory}/{name}.pub", "is there without its private key")
    _write(Path(directory) / name, pem, 0o600)
    write_public_half(directory, name)


def write_public_half(directory: str | PathLike[str], name: str) -> None:
    """Write `<name>.pub` beside the private key `<name>`. Raises: KeyException."""
    public = Key(Path(directory) / name).private_key().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(Path(directory) / f"{name}.pub", pem, 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as err:
        raise KeyException(str(path), f"cannot be written: {err.strerror}") from err
