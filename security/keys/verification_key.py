"""A public key that may verify tokens, bound to the algorithms of its type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from security.errors import KeyException

LEEWAY_S = 5.0  # the clocks of issuer and service may differ this much
MIN_RSA_BITS = 2048  # NIST SP 800-131A, revision 2: shorter RSA keys are disallowed
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS = (*RSA_ALGORITHMS, *CURVE_ALGORITHMS.values())


@dataclass(frozen=True)
class VerificationKey:
    """A checked key. algorithms: those that its type can verify, so that none can be confused (RFC 8725, 3.1)."""

    name: str
    key: RSAPublicKey | EllipticCurvePublicKey
    algorithms: tuple[str, ...]


class KeySource(Protocol):
    """Where a verifier finds keys. generation: changes whenever the set of keys does."""

    @property
    def generation(self) -> int: ...

    def candidates(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys that may have signed a token of this key id; none for an id that is not known."""
        ...


def verification_key(name: str, key: object) -> VerificationKey:
    """Check a parsed key. Raises: KeyException for a type, size or curve that is not accepted."""
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise KeyException(name, f"has {key.key_size} bits; at least {MIN_RSA_BITS} are needed")
        return VerificationKey(name, key, RSA_ALGORITHMS)
    if isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in CURVE_ALGORITHMS:
            raise KeyException(name, f"is on the curve {key.curve.name}; expected {', '.join(CURVE_ALGORITHMS)}")
        return VerificationKey(name, key, (CURVE_ALGORITHMS[key.curve.name],))
    raise KeyException(name, "is neither an RSA key nor one of an elliptic curve")
