"""Failures of requests to Vault, as single lines without secrets that say what to change."""

import re

import requests
from hvac.exceptions import (
    Forbidden,
    InternalServerError,
    InvalidPath,
    InvalidRequest,
    Unauthorized,
    UnsupportedOperation,
    VaultError,
)

from service.errors import LoanerError
from service.net.tls_mismatch import may_be_for_lack_of_tls, says_that_tls_is_needed, shows_that_tls_is_missing
from service.net.urls import without_password

# What hvac raises: for Vault's replies, for broken connections, and for replies that are not Vault's.
REQUEST_ERRORS = (
    VaultError,
    requests.RequestException,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
)
_PERMANENT = (InvalidRequest, Unauthorized, Forbidden, InvalidPath, UnsupportedOperation)
MAX_REASON_CHARS = 300


class VaultUnavailable(LoanerError):
    """A request to Vault has failed.

    Args:
        message: Vault's address, the path and the reason.
        is_temporary: Whether a retry may succeed.
        is_denied: Whether Vault rejects the token, or what its policies allow.
    """

    def __init__(self, message: str, is_temporary: bool, is_denied: bool = False) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary
        self.is_denied = is_denied


def is_refused(err: Exception) -> bool:
    """Return whether Vault has rejected a login, rather than been unable to check it.

    Vault 1.13 and later answer some wrong secret ids with 500. They also do so during a failover, with another text.
    """
    if isinstance(err, InternalServerError):
        return re.search(r"\b(invalid|denied|locked)\b", _reason(err)) is not None
    return isinstance(err, _PERMANENT) and not _is_plain_http_to_tls(err)


def describe(err: Exception) -> str:
    """Return the reason that Vault gives, or the kind of an error that is not Vault's reply."""
    return _reason(err) if isinstance(err, VaultError) else type(err).__name__


def to_vault_unavailable(url: str, request: str, err: Exception) -> VaultUnavailable:
    """Convert an error of REQUEST_ERRORS.

    Args:
        url: Vault's URL, which may contain a password.
        request: What was requested and as whom, such as "database/creds/readonly as the AppRole loaner".
        err: The error.
    """
    where = f"Vault at {without_password(url)}"
    if isinstance(err, VaultError) and not _is_plain_http_to_tls(err):
        denied = isinstance(err, Forbidden)
        advice = "; a policy of the token must allow it, see deploy/vault" if denied else ""
        temporary = not isinstance(err, _PERMANENT)
        return VaultUnavailable(f"{where}: {request}: {_reason(err)}{advice}", temporary, denied)
    reason, is_temporary = _connection_failure(url, err)
    return VaultUnavailable(f"{where}: {reason}", is_temporary)


def _reason(err: VaultError) -> str:
    reasons = err.errors if isinstance(err.errors, list) and err.errors else ["no reason given"]
    text = " ".join(" ".join(map(str, reasons)).split())
    return re.sub(r"^\d+ errors? occurred: \* ", "", text)[:MAX_REASON_CHARS]


def _connection_failure(url: str, err: Exception) -> tuple[str, bool]:
    """Return the reason why no reply of Vault was received, and whether it may pass."""
    text = str(err)
    if _is_plain_http_to_tls(err):
        return "it speaks HTTPS only: VAULT_ADDR must begin with https://", False
    if isinstance(err, requests.exceptions.SSLError):
        if shows_that_tls_is_missing(err):
            return "it does not speak TLS: VAULT_ADDR must begin with http://, or Vault's listener needs TLS", False
        found = re.search(r"certificate verify failed: ([^(]+)", text)
        detail = f": {found[1].strip()}" if found else ""
        if found or "CERTIFICATE" in text.upper():
            return f"its certificate is not trusted (VAULT_CA){detail}", False
        return "the TLS handshake failed", True
    if isinstance(err, requests.exceptions.InvalidHeader):
        return "the token cannot be sent in a header; expected a single line", False
    if isinstance(err, requests.Timeout):
        return "the request timed out", True
    if isinstance(err, requests.ConnectionError) and may_be_for_lack_of_tls(err):
        hint = "; if its listener uses TLS, VAULT_ADDR must begin with https://" if url.startswith("http:") else ""
        return f"it closed the connection without a reply{hint}", True
    if isinstance(err, requests.RequestException):
        return "cannot connect", True
    return f"unexpected reply ({type(err).__name__})", True


def _is_plain_http_to_tls(err: Exception) -> bool:
    return isinstance(err, InvalidRequest) and says_that_tls_is_needed(err.text or "")
