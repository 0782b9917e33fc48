"""Proves that an answer comes from an instance of this service, and not from another service at its address or path.

The caller sends a random challenge. An instance returns its id and, for each secret that all instances share, a MAC
(RFC 2104) over the service's name, its id and the challenge. A service that only echoes the challenge, or replays an
earlier proof, cannot compute it. A proof reveals nothing about the secrets.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from hashlib import sha256

CHALLENGE_HEADER = "Loaner-Challenge"
PROOF_HEADER = "Loaner-Proof"
CHALLENGE_BYTES = 18
MAX_SECRETS = 8  # bounds the header, and what a challenge costs

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_PROOF = re.compile(rf"([A-Za-z0-9_-]{{1,64}})((?: [0-9a-f]{{64}}){{1,{MAX_SECRETS}}})")


class Identity:
    """Makes and verifies proofs.

    Args:
        service: Name of the service, so that proofs of two services with the same keys differ.
        read_secrets: Returns the secrets that all instances share. During a rotation of keys, instances have several.
        instance: Id of this instance; empty for a process that only verifies.
    """

    def __init__(self, service: str, read_secrets: Callable[[], Sequence[bytes]], instance: str = "") -> None:
        self.instance = instance
        self._service = service
        self._read_secrets = read_secrets

    def has_secrets(self) -> bool:
        """Return whether proofs can be made and verified."""
        return bool(self._read_secrets())

    def prove(self, challenge: str) -> str | None:
        """Return the proof for a challenge; None for a malformed one, or without a secret."""
        shared = self._read_secrets()[:MAX_SECRETS]
        if not shared or not self.instance or not _CHALLENGE.fullmatch(challenge):
            return None
        return " ".join((self.instance, *(self._mac(secret, self.instance, challenge) for secret in shared)))

    def verify(self, challenge: str, proof: str | None) -> str | None:
        """Return the id of the instance that has made a proof; None if it was not made by one of this service."""
        match = _PROOF.fullmatch(proof or "")
        if match is None:
            return None
        instance, presented = match[1], match[2].split()
        expected = [self._mac(secret, instance, challenge) for secret in self._read_secrets()]
        return instance if any(hmac.compare_digest(a, b) for a in presented for b in expected) else None

    def _mac(self, secret: bytes, instance: str, challenge: str) -> str:
        return hmac.new(secret, f"{self._service}\n{instance}\n{challenge}".encode(), sha256).hexdigest()


def new_challenge() -> str:
    """Return a random challenge."""
    return secrets.token_urlsafe(CHALLENGE_BYTES)
