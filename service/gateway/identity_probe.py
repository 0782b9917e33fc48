"""Requests a proof of identity from an address."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.gateway.identity import CHALLENGE_HEADER, PROOF_HEADER, Identity, new_challenge
from service.net.session import direct_session

PATH = "/healthcheck"
TIMEOUT_S = 5
MAX_BYTES = 1_000
# What releases that make no proofs answer.
UNSIGNED_ANSWER = b'{"status":"ok"}'


@dataclass(frozen=True)
class Answer:
    """What an address answered.

    Attributes:
        status: The status.
        headers: The headers.
        instance: The id of the instance of this service that has proven its identity; None without a valid proof.
        looks_unsigned: Whether a release that makes no proofs, or an imitation of one, may have answered.
    """

    status: int
    headers: Mapping[str, str]
    instance: str | None
    looks_unsigned: bool


def probe(base_url: str, identity: Identity, ca_file: str | None = None, *, verify: bool = True) -> Answer:
    """Send a challenge in a connection that nothing else uses, and return the answer.

    Args:
        base_url: URL of the service, to which the path of the liveness check is appended.
        identity: Verifies the proof.
        ca_file: PEM file with the authorities that a certificate is verified against.
        verify: Whether a certificate is verified. The proof does not depend on it.

    Raises:
        requests.RequestException: If no HTTP answer arrives.
    """
    challenge = new_challenge()
    with (
        direct_session(ca_file, verify=verify) as session,
        session.get(
            base_url + PATH,
            headers={CHALLENGE_HEADER: challenge, "Connection": "close", "Cache-Control": "no-cache"},
            timeout=TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        ) as reply,
    ):
        content = reply.raw.read(MAX_BYTES, decode_content=True) or b""
        return Answer(
            reply.status_code,
            reply.headers,
            identity.verify(challenge, reply.headers.get(PROOF_HEADER)),
            reply.status_code == 200 and b"".join(content.split()) == UNSIGNED_ANSWER,
        )
