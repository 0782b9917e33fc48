"""Keys and key stores."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from microkubes.own_packages import own_packages

with own_packages():
    from security.errors import KeyException
    from security.keys.key_file import Key, key_kind
    from security.keys.store import KeyStore as _KeyStore

__all__ = ["Key", "KeyException", "KeyStore"]


class KeyStore(_KeyStore):
    """A key store that also trusts `<name>.crt` and `<name>.key` if the file holds a public key or a certificate.

    The service itself trusts `*.pub` alone: a certificate for TLS beside the keys must not sign tokens.

    Args:
        dir_path: The key directory.
        keys: Additional key files, by name.

    Raises:
        KeyException: If the directory cannot be read or a key is not a file.
    """

    def __init__(
        self,
        dir_path: str | PathLike[str] | None = None,
        keys: Mapping[str, str | PathLike[str]] | None = None,
    ) -> None:
        super().__init__(dir_path, keys, kind=_kind)


def _kind(file: Path) -> str | None:
    if file.suffix.lower() not in (".crt", ".key"):
        return key_kind(file)
    try:
        Key(file, public=True).verification_key(file.stem)
    except KeyException:
        return None
    return "public"
