"""Keys and key stores."""

from security.errors import KeyException
from security.keys.key_file import Key
from security.keys.store import KeyStore

__all__ = ["Key", "KeyException", "KeyStore"]
