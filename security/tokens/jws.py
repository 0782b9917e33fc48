"""A signed token in its compact form (RFC 7515, section 3.1), taken apart strictly.

Lenient readers skip characters that are not base64, take the last of two members of one name, and read NaN. Each of
these lets one signature stand for several texts, or two readers see two different tokens, so all are refused here.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, NoReturn

from security.errors import InvalidToken
from security.strict_json import unique_members

MAX_TOKEN_CHARS = 16_384  # a larger token is refused before anything parses it


@dataclass(frozen=True, slots=True)
class CompactToken:
    """A token's parts. Nothing in them is to be believed before the signature is verified."""

    algorithm: str
    kid: str | None
    signed: bytes
    payload: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """The members of the payload. Raises: InvalidToken."""
        return _json_object(self.payload, "payload")


def take_apart(token: str) -> CompactToken:
    """The parts of a compact token. Raises: InvalidToken for whatever is not exactly one.

    The only header members that are looked at are `alg` and `kid`. One that asks to be understood (`crit`, and `b64`
    with it) is refused; one that offers a key (`jwk`, `jku`, `x5u`, `x5c`) is never followed (RFC 8725, section 3.10).
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("the token is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise InvalidToken("the token is not three parts joined by dots")
    header = _json_object(_bytes_of(parts[0]), "header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if "crit" in header or "b64" in header:
        raise InvalidToken("the token needs an extension that is not known here")
    if not isinstance(algorithm, str):
        raise InvalidToken("the token names no algorithm")
    if kid is not None and not isinstance(kid, str):
        raise InvalidToken("the token's key id is not a string")
    return CompactToken(
        algorithm, kid, token[: len(parts[0]) + 1 + len(parts[1])].encode(), _bytes_of(parts[1]), _bytes_of(parts[2])
    )


def _bytes_of(part: str) -> bytes:
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as err:
        raise InvalidToken("the token is not base64url") from err
    # the last character may carry bits that decode to nothing: only the text that encoding gives is accepted
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise InvalidToken("the token is not base64url")
    return decoded


def _json_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        members = json.loads(data.decode("utf-8"), object_pairs_hook=unique_members, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise InvalidToken(f"the token's {what} is not JSON with each member once") from err
    if not isinstance(members, dict):
        raise InvalidToken(f"the token's {what} is not a JSON object")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
