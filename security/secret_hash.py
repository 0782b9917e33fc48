"""Secrets kept as hashes: Argon2id (RFC 9106), with the least cost that OWASP's password storage cheat sheet names."""

import os
import re

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

_ITERATIONS, _LANES, _MEMORY_KIB = 2, 1, 19_456
# one cost for all: an answer must take as long for one client as for another, or for none
PATTERN = re.compile(
    rf"\$argon2id\$v=19\$m={_MEMORY_KIB},t={_ITERATIONS},p={_LANES}\$[A-Za-z0-9+/]{{22}}\$[A-Za-z0-9+/]{{43}}"
)


def hash_secret(secret: str) -> str:
    """The hash of a secret, with a salt of its own, as PATTERN has it."""
    hashing = Argon2id(salt=os.urandom(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return hashing.derive_phc_encoded(_bytes(secret))


def matches(secret: str, hashed: str) -> bool:
    """Whether this is the secret. Takes as long for a wrong one as for the right one."""
    try:
        Argon2id.verify_phc_encoded(_bytes(secret), hashed)
    except InvalidKey:
        return False
    return True


def _bytes(secret: str) -> bytes:
    # JSON can carry halves of surrogate pairs, which are no text but can be compared
    return secret.encode("utf-8", "surrogatepass")
