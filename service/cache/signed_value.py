"""Signs values for memcached, which accepts writes from every client that can reach it."""

import hmac
from hashlib import blake2b

TAG_BYTES = 16


class ValueSigner:
    """Binds values to a secret and to their key with keyed BLAKE2b (RFC 7693).

    Args:
        secret: Shared by all instances that use the same servers.
    """

    def __init__(self, secret: str) -> None:
        self._secret = blake2b(secret.encode(), person=b"loaner cache").digest()

    def sign(self, key: str, content: bytes) -> bytes:
        """Return the value to store under a key: a tag, followed by the content."""
        return self._tag(key, content) + content

    def verify(self, key: str, value: bytes) -> memoryview | None:
        """Return the content of a value found under a key, without copying it; None if its tag is not valid."""
        content = memoryview(value)[TAG_BYTES:]
        return content if hmac.compare_digest(value[:TAG_BYTES], self._tag(key, content)) else None

    def _tag(self, key: str, content: bytes | memoryview) -> bytes:
        # The salt depends on the key, so a value is not valid under another key.
        salt = blake2b(key.encode(), digest_size=16).digest()
        return blake2b(content, digest_size=TAG_BYTES, key=self._secret, salt=salt).digest()
