"""Hashes of client secrets: Argon2id (RFC 9106) at the minimum cost of OWASP's password storage cheat sheet."""

import os
import re

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

_ITERATIONS, _LANES, _MEMORY_KIB = 2, 1, 19_456
# The cost is part of the pattern: response times must not reveal which clients exist.
PATTERN = re.compile(
    rf"\$argon2id\$v=19\$m={_MEMORY_KIB},t={_ITERATIONS},p={_LANES}\$[A-Za-z0-9+/]{{22}}\$[A-Za-z0-9+/]{{43}}"
)


def hash_secret(secret: str) -> str:
    """Return the salted hash of a secret, in the format of `PATTERN`."""
    hashing = Argon2id(salt=os.urandom(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return hashing.derive_phc_encoded(_to_bytes(secret))


def matches(secret: str, hashed: str) -> bool:
    """Return whether the hash is that of the secret. A mismatch takes as long as a match."""
    try:
        Argon2id.verify_phc_encoded(_to_bytes(secret), hashed)
    except InvalidKey:
        return False
    return True


def _to_bytes(secret: str) -> bytes:
    # JSON strings may contain lone surrogates, which strict UTF-8 cannot encode.
    return secret.encode("utf-8", "surrogatepass")
