"""A request that may be repeated: the same key of the same caller means the same request, and gets the same answer.

As draft-ietf-httpapi-idempotency-key-header has it, but for the status of a key that is used for something else: 409.
What was refused is not remembered, because nothing was done; repeated, it is looked at anew.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

HEADER = "Idempotency-Key"


@dataclass(frozen=True)
class RequestFingerprint:
    """Which request this is. id: of its caller and their key. digest: of what it asks for."""

    id: bytes
    digest: bytes


def parse_idempotency_key(text: str) -> str:
    """A key as a caller may choose it. Raises: ValueError."""
    if not re.fullmatch(r"[\x20-\x7E]{1,255}", text):
        raise ValueError("expected 1 to 255 printable ASCII characters")
    return text


def fingerprint(caller: str, key: str, asked: dict[str, Any]) -> RequestFingerprint:
    """asked: everything that tells this request from another one, in what orjson can write."""
    # surrogatepass: an identity may hold any character that JSON can
    who = sha256(caller.encode("utf-8", "surrogatepass")).digest() + key.encode("ascii")
    return RequestFingerprint(sha256(who).digest(), sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest())
