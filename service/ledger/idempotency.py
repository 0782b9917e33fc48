"""Identifies repeated requests: the same Idempotency-Key of the same caller gets the first reply again.

Follows draft-ietf-httpapi-idempotency-key-header, except that a key that was used for a different request is 409.
Rejected requests changed nothing and are not stored: a repetition is processed like a new request.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

HEADER = "Idempotency-Key"


@dataclass(frozen=True)
class RequestFingerprint:
    """Identifies a request and its content.

    Attributes:
        id: Hash of the caller and their key.
        digest: Hash of what the request contains.
    """

    id: bytes
    digest: bytes


def parse_idempotency_key(text: str) -> str:
    """Return a valid key unchanged.

    Raises:
        ValueError: If it is not 1 to 255 printable ASCII characters.
    """
    if not re.fullmatch(r"[\x20-\x7E]{1,255}", text):
        raise ValueError("expected 1 to 255 printable ASCII characters")
    return text


def fingerprint(caller: str, key: str, content: dict[str, Any]) -> RequestFingerprint:
    """Return the fingerprint of a request.

    Args:
        caller: The caller's identity.
        key: The caller's Idempotency-Key.
        content: Everything that distinguishes the request from others, in types that orjson can serialize.
    """
    # surrogatepass: an identity may contain any character that JSON allows
    owner = sha256(caller.encode("utf-8", "surrogatepass")).digest() + key.encode("ascii")
    digest = sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
    return RequestFingerprint(sha256(owner).digest(), digest)
