"""Keys."""

from security.errors import KeyException
from security.key import Key
from security.key_store import KeyStore

__all__ = ["Key", "KeyException", "KeyStore"]
