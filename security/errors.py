"""Exceptions of the security library."""

import re
from collections.abc import Mapping, Sequence

REALM = "microkubes"


class SecurityException(Exception):
    """A rejected request, and the base class of all errors of this library.

    Args:
        message: The message for the client.
        status_code: The HTTP status: 401 without a valid identity, 403 for an identity without permission, 5xx for a
            fault of the server.
        headers: Headers to add to the response.
    """

    def __init__(self, message: str, status_code: int = 500, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.headers = dict(headers or {})


class NotAuthenticated(SecurityException):
    """A request without a valid identity: 401 with the challenge of RFC 6750, section 3.

    Args:
        message: The message for the client.
        error: The error code of the challenge, if a token was presented.
        failures: The providers that rejected a token, as (provider, message).
    """

    def __init__(
        self,
        message: str = "authentication required",
        error: str | None = None,
        failures: Sequence[tuple[str, str]] = (),
    ) -> None:
        challenge = f'Bearer realm="{REALM}"'
        if error:
            challenge += f', error="{error}", error_description="{_to_description(message)}"'
        super().__init__(message, 401, {"WWW-Authenticate": challenge})
        self.failures = tuple(failures)


def _to_description(message: str) -> str:
    """Replace the characters that RFC 6750, section 3, does not allow in an error description."""
    return re.sub(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]", "?", message)


class InvalidToken(NotAuthenticated):
    """An invalid token: 401. The chain continues, because a later provider may accept the token.

    Args:
        message: The message for the client.
        failures: The providers that rejected a token, as (provider, message).
    """

    def __init__(self, message: str, failures: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, error="invalid_token", failures=failures)


class InsufficientScope(SecurityException):
    """An identity that lacks a scope: 403 with the challenge of RFC 6750, section 3.1.

    Args:
        scopes: The required scopes, separated by spaces.
    """

    def __init__(self, scopes: str) -> None:
        message = f"the token lacks the scope {scopes}"
        challenge = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{scopes}"'
        super().__init__(message, 403, {"WWW-Authenticate": challenge})


class KeyException(SecurityException):
    """A missing or unusable key.

    Args:
        name: The name or the file of the key.
        reason: Why the key cannot be used.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"key {name}: {reason}")
        self.name = name
        self.reason = reason


class PolicyError(SecurityException):
    """An invalid access policy.

    Args:
        policy: The id or the position of the policy.
        field: The invalid member.
        reason: What is wrong with it.
    """

    def __init__(self, policy: str, field: str, reason: str) -> None:
        super().__init__(f"policy {policy}: {field}: {reason}")
        self.policy = policy
        self.field = field


class BreakChain(Exception):
    """Raised by a provider to admit a request immediately, skipping the remaining providers."""
