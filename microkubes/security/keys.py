"""Keys."""

from security.errors import KeyException
from security.key_store import Key, KeyStore

__all__ = ["Key", "KeyException", "KeyStore"]
