"""Secrets that all instances of the service share, derived from their signing keys."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from security import KeyException, KeyStore
from security.keys.signing_key import SigningKeys
from service.tokens.key_setup import OWN_KEY

PURPOSE = b"loaner: proof of identity"


class SharedSecrets:
    """One secret for each of the service's own key pairs.

    All instances have the same key directory, so they have the same secrets, also across releases. HKDF (RFC 5869) with
    a purpose keeps them apart from the keys: whoever knows a secret cannot sign tokens.

    Args:
        keys: The key store.
    """

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._pairs = SigningKeys(keys, OWN_KEY)
        self._generation: int | None = None
        self._secrets: Sequence[bytes] = ()

    def __call__(self) -> Sequence[bytes]:
        """Return the secrets; none without a usable key pair. They are derived again when a key file changes."""
        generation = self._keys.generation
        if generation != self._generation:
            self._secrets = [secret for name in self._pairs.pairs() if (secret := self._derive(name)) is not None]
            self._generation = generation
        return self._secrets

    def _derive(self, name: str) -> bytes | None:
        try:
            key = self._pairs.load(name).key
        except (KeyException, KeyError):  # reported where the key signs
            return None
        encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(encoded)
