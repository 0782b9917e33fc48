"""JSON Web Keys (RFC 7517): parsing and building."""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from security.errors import KeyException
from security.keys.verification_key import VerificationKey, to_verification_key

_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk}


def parse_jwk(jwk: object) -> VerificationKey | None:
    """Return the verification key of a JWK, or None if it is another kind of key, such as a shared secret.

    Raises:
        KeyException: If the key cannot be used.
    """
    if not isinstance(jwk, Mapping) or jwk.get("use", "sig") != "sig":
        return None
    read = _READERS.get(str(jwk.get("kty")))
    if read is None:
        return None
    name = str(jwk.get("kid", ""))
    try:
        return to_verification_key(name, read({member: value for member, value in jwk.items() if member != "d"}))
    except (PyJWTError, ValueError, TypeError) as err:
        raise KeyException(name, str(err)) from err


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
