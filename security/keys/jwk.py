"""A public key as JSON (RFC 7517): read from others, and written for them."""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from security.errors import KeyException
from security.keys.verification_key import VerificationKey, verification_key

_READERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk}


def key_from_jwk(jwk: object) -> VerificationKey | None:
    """The public key of a JWK that may verify signatures; None for what is something else, such as a shared secret.

    Raises: KeyException for one that cannot be used.
    """
    if not isinstance(jwk, Mapping) or jwk.get("use", "sig") != "sig":
        return None
    read = _READERS.get(str(jwk.get("kty")))
    if read is None:
        return None
    name = str(jwk.get("kid", ""))
    try:
        return verification_key(name, read({member: value for member, value in jwk.items() if member != "d"}))
    except (PyJWTError, ValueError, TypeError) as err:
        raise KeyException(name, str(err)) from err


def jwk_set(keys: Iterable[VerificationKey]) -> dict[str, Any]:
    """A JWK set. The key id is the key's name; the algorithm is the one that it signs with."""
    return {"keys": [_jwk(key) for key in keys]}


def _jwk(key: VerificationKey) -> dict[str, Any]:
    public = key.key
    members = (
        RSAAlgorithm.to_jwk(public, as_dict=True)
        if isinstance(public, RSAPublicKey)
        else ECAlgorithm.to_jwk(public, as_dict=True)
    )
    # PyJWT says what the key is for (key_ops) in a way that some readers refuse beside `use`
    return {
        **{name: value for name, value in members.items() if name != "key_ops"},
        "kid": key.name,
        "use": "sig",
        "alg": key.algorithms[0],
    }
