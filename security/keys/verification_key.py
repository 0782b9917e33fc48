"""Public keys that verify tokens, bound to the algorithms of their type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from security.errors import KeyException

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
        algorithms: The only algorithms it verifies, those of its type (RFC 8725, section 3.1).
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


def to_verification_key(name: str, key: object) -> VerificationKey:
    """Return the verification key of a parsed public key.

    Raises:
        KeyException: If its type, size or curve is not accepted.
    """
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise KeyException(name, f"has {key.key_size} bits; at least {MIN_RSA_BITS} are required")
        return VerificationKey(name, key, RSA_ALGORITHMS)
    if isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in CURVE_ALGORITHMS:
            raise KeyException(name, f"is on the curve {key.curve.name}; expected {', '.join(CURVE_ALGORITHMS)}")
        return VerificationKey(name, key, (CURVE_ALGORITHMS[key.curve.name],))
    raise KeyException(name, "is neither an RSA key nor an elliptic curve key")
