"""Strict parsing of compact JSON Web Signatures (RFC 7515, section 3.1).

Lenient parsers skip characters outside the base64 alphabet, accept duplicate member names, and read NaN. Then one
signature fits several texts, or two parsers read different tokens. This parser rejects all of these.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from security.errors import InvalidToken
from security.strict_json import parse_json

MAX_TOKEN_CHARS = 16_384  # longer tokens are rejected before they are parsed
TYPES = ("jwt", "at+jwt")  # RFC 7519, section 5.1, and RFC 9068, section 2.1


@dataclass(frozen=True, slots=True)
class CompactToken:
    """The parts of a compact token, untrusted until the signature is verified.

    Args:
        algorithm: The header's algorithm.
        kid: The header's key id, if any.
        signed: The signed bytes.
        payload: The decoded payload.
        signature: The decoded signature.
    """

    algorithm: str
    kid: str | None
    signed: bytes
    payload: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """Return the members of the payload.

        Raises:
            InvalidToken: If the payload is not a JSON object.
        """
        return _parse_object(self.payload, "payload")


def parse_compact(token: str) -> CompactToken:
    """Parse a compact token.

    The header members `alg`, `kid` and `typ` are used: a token of another type, such as `logout+jwt`, was issued for
    another purpose (RFC 8725, section 3.11). Extensions (`crit`, `b64`) are rejected, and keys that the token offers
    (`jwk`, `jku`, `x5u`, `x5c`) are ignored (RFC 8725, section 3.10).

    Raises:
        InvalidToken: If the token is malformed.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("the token is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise InvalidToken("the token is not three parts joined by dots")
    header = _parse_object(_parse_base64url(parts[0]), "header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if "crit" in header or "b64" in header:
        raise InvalidToken("the token needs an unsupported extension")
    if not isinstance(algorithm, str):
        raise InvalidToken("the token names no algorithm")
    if not _is_access_token(header.get("typ")):
        raise InvalidToken("the token is of another type (header typ)")
    if kid is not None and not isinstance(kid, str):
        raise InvalidToken("the token's key id is not a string")
    signed = token.rpartition(".")[0].encode()
    return CompactToken(algorithm, kid, signed, _parse_base64url(parts[1]), _parse_base64url(parts[2]))


def _is_access_token(typ: object) -> bool:
    """Return whether the type is missing or one of `TYPES`: a media type, in any case, with or without application/."""
    return typ is None or (isinstance(typ, str) and typ.lower().removeprefix("application/") in TYPES)


def _parse_base64url(part: str) -> bytes:
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as err:
        raise InvalidToken("the token is not base64url") from err
    # The last character may carry unused bits, so several texts decode to the same bytes: accept the canonical one.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise InvalidToken("the token is not base64url")
    return decoded


def _parse_object(data: bytes, part: str) -> dict[str, Any]:
    try:
        members = parse_json(data)
    except ValueError as err:
        raise InvalidToken(f"the token's {part} is not JSON with unique member names") from err
    if not isinstance(members, dict):
        raise InvalidToken(f"the token's {part} is not a JSON object")
    return members
