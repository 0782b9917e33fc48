"""Public keys that verify tokens, bound to the algorithms of their type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from security.errors import KeyException
from security.keys.roca import has_fingerprint

LEEWAY_S = 5.0  # the tolerated difference between the clocks of issuer and service
MIN_RSA_BITS = 2048  # NIST SP 800-131A, revision 2: shorter RSA keys are disallowed
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS = (*RSA_ALGORITHMS, *CURVE_ALGORITHMS.values())


@dataclass(frozen=True)
class VerificationKey:
    """A checked public key.

    Args:
        name: The name of the key, which is its key id.
        key: The public key.
        algorithms: The only algorithms it verifies: those of its type, or the one that it is published for (RFC 8725,
            section 3.1).
    """

    name: str
    key: RSAPublicKey | EllipticCurvePublicKey
    algorithms: tuple[str, ...]


class KeySource(Protocol):
    """A source of trusted keys."""

    @property
    def generation(self) -> int:
        """A number that changes whenever the set of keys does."""
        ...

    def current_generation(self) -> int | None:
        """Return the generation if it is known to be current, otherwise None. Must neither block nor read files."""
        ...

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token with this key id; none if it is unknown."""
        ...


def to_verification_key(name: str, key: object, algorithms: Sequence[str] | None = None) -> VerificationKey:
    """Return the verification key of a parsed public key.

    Args:
        name: The name of the key.
        key: The public key.
        algorithms: The only algorithms that the key is published for, if its publisher names any.

    Raises:
        KeyException: If its type, size or curve is not accepted, its modulus is weak, or its type does not fit an
            algorithm that it is published for.
    """
    if isinstance(key, RSAPublicKey):
        _check_modulus(name, key)
        fitting: tuple[str, ...] = RSA_ALGORITHMS
    elif isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in CURVE_ALGORITHMS:
            raise KeyException(name, f"is on the curve {key.curve.name}; expected {', '.join(CURVE_ALGORITHMS)}")
        fitting = (CURVE_ALGORITHMS[key.curve.name],)
    else:
        raise KeyException(name, "is neither an RSA key nor an elliptic curve key")
    if algorithms is None:
        return VerificationKey(name, key, fitting)
    if not algorithms or not set(algorithms) <= set(fitting):
        raise KeyException(name, f"is published for another algorithm; its type verifies {', '.join(fitting)}")
    return VerificationKey(name, key, tuple(algorithms))


def _check_modulus(name: str, key: RSAPublicKey) -> None:
    if key.key_size < MIN_RSA_BITS:
        raise KeyException(name, f"has {key.key_size} bits; at least {MIN_RSA_BITS} are required")
    modulus = key.public_numbers().n
    if modulus % 2 == 0:
        raise KeyException(name, "has an even modulus, which is not a product of two primes")
    if has_fingerprint(modulus):
        raise KeyException(name, "has the weakness ROCA (CVE-2017-15361), so its private half can be computed")
