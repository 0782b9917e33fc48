"""A keyed tag around what is given to memcached, which lets everybody in who can reach it."""

import hmac
from hashlib import blake2b

TAG_BYTES = 16  # a whole number of 8-byte words, so that what follows stays aligned


class ValueSigner:
    """Marks values as written by somebody who knows the secret, and under which key. BLAKE2b, RFC 7693."""

    def __init__(self, secret: str) -> None:
        self._secret = blake2b(secret.encode(), person=b"loaner cache").digest()

    def close(self, key: str, content: bytes) -> bytes:
        """The value to keep under the key."""
        return self._tag(key, content) + content

    def open(self, key: str, value: bytes) -> memoryview | None:
        """What is in a value that was found under the key, without copying it; None if nobody of ours put it there."""
        content = memoryview(value)[TAG_BYTES:]
        return content if hmac.compare_digest(value[:TAG_BYTES], self._tag(key, content)) else None

    def _tag(self, key: str, content: bytes | memoryview) -> bytes:
        # the salt is of the key's digest, so that a value says nothing under another key
        salt = blake2b(key.encode(), digest_size=16).digest()
        return blake2b(content, digest_size=TAG_BYTES, key=self._secret, salt=salt).digest()
