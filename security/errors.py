"""What the security library raises. `SecurityException` is the root of it all."""

import re
from collections.abc import Mapping, Sequence

REALM = "microkubes"


class SecurityException(Exception):
    """A request that is refused.

    message: what the client may read. status_code: the HTTP status, 401 (no valid identity) or 403 (an identity
    without permission) for a client's mistake. headers: what to add to the reply.
    """

    def __init__(self, message: str, status_code: int = 500, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.headers = dict(headers or {})


class NotAuthenticated(SecurityException):
    """No valid identity: 401 with the challenge of RFC 6750, section 3.

    error: the challenge's error code, when a token was presented. failures: what each provider that saw a bad token
    said, as (provider, message).
    """

    def __init__(
        self,
        message: str = "authentication required",
        error: str | None = None,
        failures: Sequence[tuple[str, str]] = (),
    ) -> None:
        challenge = f'Bearer realm="{REALM}"'
        if error:
            challenge += f', error="{error}", error_description="{_description(message)}"'
        super().__init__(message, 401, {"WWW-Authenticate": challenge})
        self.failures = tuple(failures)


def _description(message: str) -> str:
    """A message in the characters that a challenge may hold (RFC 6750, section 3)."""
    return re.sub(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]", "?", message)


class InvalidToken(NotAuthenticated):
    """A token was presented and is bad. The chain keeps this and goes on: another provider may still say yes."""

    def __init__(self, message: str, failures: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, error="invalid_token", failures=failures)


class InsufficientScope(SecurityException):
    """An identity that lacks a scope: 403 with the challenge of RFC 6750, section 3.1."""

    def __init__(self, scopes: str) -> None:
        message = f"the token lacks the scope {scopes}"
        challenge = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{scopes}"'
        super().__init__(message, 403, {"WWW-Authenticate": challenge})


class KeyException(SecurityException):
    """A key that is missing or cannot be used. name: the key's name or file. reason: what is the matter with it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"key {name}: {reason}")
        self.name = name
        self.reason = reason


class PolicyError(SecurityException):
    """An access policy that cannot be used. policy: its id or position. field: the member that is wrong."""

    def __init__(self, policy: str, field: str, reason: str) -> None:
        super().__init__(f"policy {policy}: {field}: {reason}")
        self.policy = policy
        self.field = field


class BreakChain(Exception):
    """Raised by a provider to admit the request now, without asking the providers after it."""
