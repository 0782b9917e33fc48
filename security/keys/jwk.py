"""JSON Web Keys (RFC 7517): parsing and building."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from security.errors import KeyException
from security.keys.verification_key import VerificationKey, to_verification_key

_BASE64URL = re.compile("[A-Za-z0-9_-]+={0,2}")  # some issuers pad
_NUMBERS = ("n", "e", "x", "y")
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth")
_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk}


def parse_jwk(jwk: object) -> VerificationKey | None:
    """Return the verification key of a JWK, or None if it serves another purpose, such as encryption.

    A key verifies only what it is published for: `use` (RFC 7517, section 4.2), `key_ops` (4.3) and `alg` (4.4).

    Raises:
        KeyException: If the key cannot be used.
    """
    if not isinstance(jwk, Mapping):
        raise KeyException("", "is not a JSON object")
    name = _text(jwk, "kid", "") or ""
    read = _READERS.get(_text(jwk, "kty", name) or "")
    if read is None or _text(jwk, "use", name) not in (None, "sig") or not _may_verify(jwk, name):
        return None
    if not jwk.keys().isdisjoint(_PRIVATE):
        raise KeyException(name, "is published with its private half, so anyone can sign with it")
    for member in sorted(jwk.keys() & _NUMBERS):
        if not _BASE64URL.fullmatch(_text(jwk, member, name) or ""):  # the parser skips other characters
            raise KeyException(name, f"has a member {member} that is not base64url")
    algorithm = _text(jwk, "alg", name)
    try:
        return to_verification_key(name, read(dict(jwk)), None if algorithm is None else [algorithm])
    except (PyJWTError, ValueError, TypeError) as err:
        raise KeyException(name, str(err)) from err


def _may_verify(jwk: Mapping[str, Any], name: str) -> bool:
    """Return whether the key may verify signatures by its `key_ops`.

    Unrelated operations are rejected, because a key for several purposes is vulnerable (RFC 7517, section 4.3).
    """
    operations = jwk.get("key_ops")
    if operations is None:
        return True
    if not isinstance(operations, list) or not all(isinstance(each, str) for each in operations):
        raise KeyException(name, "has key_ops that are not a list of strings")
    if len(set(operations)) < len(operations):
        raise KeyException(name, "has duplicate key_ops")
    if "verify" in operations and not set(operations) <= {"sign", "verify"}:
        raise KeyException(name, "has unrelated key_ops; expected only verify")
    return "verify" in operations


def _text(jwk: Mapping[str, Any], member: str, name: str) -> str | None:
    value = jwk.get(member)
    if value is not None and not isinstance(value, str):
        raise KeyException(name, f"has a member {member} that is not a string")
    return value


def build_jwk_set(keys: Iterable[VerificationKey]) -> dict[str, Any]:
    """Return a JWK set. Key ids are the names of the keys."""
    return {"keys": [_to_jwk(key) for key in keys]}


def _to_jwk(key: VerificationKey) -> dict[str, Any]:
    public = key.key
    members = (
        RSAAlgorithm.to_jwk(public, as_dict=True)
        if isinstance(public, RSAPublicKey)
        else ECAlgorithm.to_jwk(public, as_dict=True)
    )
    # PyJWT adds key_ops, which some parsers reject beside `use`.
    return {
        **{name: value for name, value in members.items() if name != "key_ops"},
        "kid": key.name,
        "use": "sig",
        "alg": key.algorithms[0],
    }
