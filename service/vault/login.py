"""Logs in to Vault."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import hvac
import requests
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, UnsupportedOperation, VaultError

from service.errors import LoanerError, SettingsError
from service.net.session import direct_session
from service.net.urls import without_password
from service.settings import VaultSettings

TIMEOUT_S = 5
KUBERNETES_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class VaultUnavailable(LoanerError):
    """A request to Vault has failed.

    Args:
        message: Vault's address and the reason.
        is_temporary: Whether a retry may succeed.
    """

    def __init__(self, message: str, is_temporary: bool) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


@dataclass(frozen=True)
class Token:
    """A Vault token.

    Args:
        value: The token itself.
        lease_s: Seconds until it expires; 0 for a token that does not expire.
        is_renewable: Whether its lease can be renewed.
        is_from_login: Whether a login created it for this service, which may then log in again, and revokes the token
            at the end.
    """

    value: str = field(repr=False)
    lease_s: float
    is_renewable: bool
    is_from_login: bool


def vault_url(settings: VaultSettings) -> str:
    """Return the URL of Vault, with its port."""
    parts = urlsplit(settings.addr)
    return settings.addr if parts.port else parts._replace(netloc=f"{parts.netloc}:{settings.port}").geturl()


def open_vault(settings: VaultSettings) -> hvac.Client:
    """Create a client that has not logged in yet.

    Raises:
        SettingsError: If VAULT_CA does not name a file.
    """
    if settings.ca and not Path(settings.ca).is_file():
        raise SettingsError(f"VAULT_CA: {settings.ca} is not a file")
    session = direct_session(settings.ca)
    return hvac.Client(url=vault_url(settings), timeout=TIMEOUT_S, session=session, verify=session.verify)


def log_in(client: hvac.Client, settings: VaultSettings) -> Token:
    """Log in with the method that the settings choose: AppRole, Kubernetes, a token, or a token file.

    Raises:
        SettingsError: If the settings choose no method, or name an unreadable file.
        VaultError: If Vault rejects the login.
        RequestException: If Vault cannot be reached.
    """
    if settings.role_id:
        secret = _secret_or_file(settings.secret_id, settings.secret_id_file, "VAULT_SECRET_ID_FILE")
        return _parse_login(client.auth.approle.login(settings.role_id, secret)["auth"])
    if settings.kubernetes_role:
        jwt = _read(KUBERNETES_TOKEN, "VAULT_KUBERNETES_ROLE")
        return _parse_login(client.auth.kubernetes.login(settings.kubernetes_role, jwt)["auth"])
    token = _secret_or_file(settings.token, settings.token_file, "VAULT_TOKEN_FILE")
    if token is None:
        raise SettingsError(
            "VAULT_TOKEN is not set; set it, or VAULT_TOKEN_FILE, VAULT_ROLE_ID or VAULT_KUBERNETES_ROLE,"
            " or USE_VAULT=false to read as PSQL_USER"
        )
    client.token = token
    found = client.auth.token.lookup_self()["data"]
    return Token(token, float(found.get("ttl") or 0), bool(found.get("renewable")), is_from_login=False)


def read_token_file(settings: VaultSettings) -> str | None:
    """Return the token in VAULT_TOKEN_FILE; None if the settings choose another way to log in.

    Raises:
        SettingsError: If the file cannot be read.
    """
    if settings.token_file is None or settings.token or settings.role_id:
        return None
    return _read(Path(settings.token_file), "VAULT_TOKEN_FILE")


def to_vault_unavailable(settings: VaultSettings, err: Exception) -> VaultUnavailable:
    """Convert an error into one whose message is a single line without secrets."""
    where = f"Vault at {without_password(vault_url(settings))}"
    if isinstance(err, VaultError):
        reasons = " ".join(str(entry) for entry in err.errors or ["no reason given"])
        permanent = InvalidRequest, Unauthorized, Forbidden, InvalidPath, UnsupportedOperation
        return VaultUnavailable(f"{where}: {' '.join(reasons.split())[:300]}", not isinstance(err, permanent))
    if isinstance(err, requests.exceptions.SSLError):
        return VaultUnavailable(f"{where}: its certificate is not trusted (VAULT_CA)", False)
    if isinstance(err, requests.exceptions.InvalidHeader):
        return VaultUnavailable(f"{where}: the token cannot be sent in a header; expected a single line", False)
    if isinstance(err, requests.Timeout):
        return VaultUnavailable(f"{where}: the request timed out", True)
    if isinstance(err, requests.RequestException):
        return VaultUnavailable(f"{where}: cannot connect", True)
    return VaultUnavailable(f"{where}: unexpected reply ({type(err).__name__})", True)


def _parse_login(auth: dict[str, object]) -> Token:
    return Token(
        str(auth["client_token"]), float(str(auth["lease_duration"])), bool(auth["renewable"]), is_from_login=True
    )


def _secret_or_file(value: object, file: str | None, setting: str) -> str | None:
    if value is not None:
        return str(value.get_secret_value())  # type: ignore[attr-defined]
    return None if file is None else _read(Path(file), setting)


def _read(file: Path, setting: str) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise SettingsError(f"{setting}: {file} cannot be read: {getattr(err, 'strerror', 'not text')}") from err
