"""How this service proves itself to Vault."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import hvac
import requests
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, UnsupportedOperation, VaultError

from service.errors import LoanerError, SettingsError
from service.net.urls import without_password
from service.settings import VaultSettings

TIMEOUT_S = 5
KUBERNETES_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class VaultUnavailable(LoanerError):
    """Vault does not do what it was asked. The message names its address and what it said. may_pass: whether it makes
    sense to ask again.
    """

    def __init__(self, message: str, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


@dataclass(frozen=True)
class Token:
    """What a login gave. lease_s: how long it lasts; 0 for ever. renewable: whether it can last longer. made: whether
    it was made for us, so that we may have another one made, and revoke it at the end.
    """

    value: str = field(repr=False)
    lease_s: float
    renewable: bool
    made: bool


def vault_url(settings: VaultSettings) -> str:
    """Where Vault is."""
    parts = urlsplit(settings.addr)
    return settings.addr if parts.port else parts._replace(netloc=f"{parts.netloc}:{settings.port}").geturl()


def open_vault(settings: VaultSettings) -> hvac.Client:
    """A client that has not logged in yet. Raises: SettingsError."""
    if settings.ca and not Path(settings.ca).is_file():
        raise SettingsError(f"VAULT_CA: {settings.ca} is not a file")
    session = requests.Session()
    session.trust_env = False  # a .netrc or a proxy of the environment is for others
    session.verify = settings.ca or True
    return hvac.Client(url=vault_url(settings), timeout=TIMEOUT_S, session=session, verify=session.verify)


def log_in(client: hvac.Client, settings: VaultSettings) -> Token:
    """Log in with what the settings name: AppRole, Kubernetes, a token, or a file of one.

    Raises: SettingsError when they name nothing, or a file that cannot be read; hvac's and requests' errors.
    """
    if settings.role_id:
        secret = _secret(settings.secret_id, settings.secret_id_file, "VAULT_SECRET_ID_FILE")
        return _made(client.auth.approle.login(settings.role_id, secret)["auth"])
    if settings.kubernetes_role:
        jwt = _read(KUBERNETES_TOKEN, "VAULT_KUBERNETES_ROLE")
        return _made(client.auth.kubernetes.login(settings.kubernetes_role, jwt)["auth"])
    token = _secret(settings.token, settings.token_file, "VAULT_TOKEN_FILE")
    if token is None:
        raise SettingsError(
            "VAULT_TOKEN is not set; set it, or VAULT_TOKEN_FILE, VAULT_ROLE_ID or VAULT_KUBERNETES_ROLE,"
            " or USE_VAULT=false to read as PSQL_USER"
        )
    client.token = token
    known = client.auth.token.lookup_self()["data"]
    return Token(token, float(known.get("ttl") or 0), bool(known.get("renewable")), made=False)


def token_in_file(settings: VaultSettings) -> str | None:
    """The token as its file has it now, if that is how to log in. Raises: SettingsError."""
    if settings.token_file is None or settings.token or settings.role_id:
        return None
    return _read(Path(settings.token_file), "VAULT_TOKEN_FILE")


def failure(settings: VaultSettings, err: Exception) -> VaultUnavailable:
    """What went wrong, in a line without secrets."""
    where = f"Vault at {without_password(vault_url(settings))}"
    if isinstance(err, VaultError):
        said = " ".join(str(entry) for entry in err.errors or ["no reason given"])
        refused = InvalidRequest, Unauthorized, Forbidden, InvalidPath, UnsupportedOperation
        return VaultUnavailable(f"{where}: {' '.join(said.split())[:300]}", not isinstance(err, refused))
    if isinstance(err, requests.exceptions.SSLError):
        return VaultUnavailable(f"{where}: its certificate is not trusted (VAULT_CA)", False)
    if isinstance(err, requests.exceptions.InvalidHeader):
        return VaultUnavailable(f"{where}: the token cannot be sent; expected one line", False)
    if isinstance(err, requests.Timeout):
        return VaultUnavailable(f"{where}: timed out", True)
    if isinstance(err, requests.RequestException):
        return VaultUnavailable(f"{where}: cannot be reached", True)
    return VaultUnavailable(f"{where}: answered what cannot be understood ({type(err).__name__})", True)


def _made(auth: dict[str, object]) -> Token:
    return Token(str(auth["client_token"]), float(str(auth["lease_duration"])), bool(auth["renewable"]), made=True)


def _secret(value: object, file: str | None, setting: str) -> str | None:
    if value is not None:
        return str(value.get_secret_value())  # type: ignore[attr-defined]
    return None if file is None else _read(Path(file), setting)


def _read(file: Path, setting: str) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise SettingsError(f"{setting}: {file} cannot be read: {getattr(err, 'strerror', 'not text')}") from err
