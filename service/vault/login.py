"""Logs in to Vault."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import hvac

from service.errors import SettingsError
from service.net.session import direct_session
from service.settings import VaultSettings
from service.vault.lifetime import parse_seconds

TIMEOUT_S = 5
APPROLE_PATH, KUBERNETES_PATH = "auth/approle/login", "auth/kubernetes/login"
KUBERNETES_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True)
class Login:
    """A way to log in, and the secret that it presents.

    Args:
        path: Vault's path.
        who: The role, as messages name it.
        role: The role id of an AppRole, or the role of a Kubernetes service account. None for a token.
        secret: The secret.
    """

    path: str
    who: str
    role: str | None
    secret: str | None = field(repr=False)

    @property
    def locks_role(self) -> bool:
        """Whether Vault locks the role after several refusals."""
        return self.path == APPROLE_PATH


@dataclass(frozen=True)
class Token:
    """A Vault token.

    Args:
        value: The token itself.
        lease_s: Seconds until it expires; 0 for a token that does not expire.
        is_renewable: Whether its lease can be renewed.
        is_from_login: Whether a login created it for this process, which may then log in again, and revokes the token
            at the end.
        is_batch: Whether it is a batch token, which cannot be renewed or revoked.
    """

    value: str = field(repr=False)
    lease_s: float
    is_renewable: bool
    is_from_login: bool
    is_batch: bool = False


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


def read_login(settings: VaultSettings) -> Login:
    """Return the login that the settings choose: AppRole, Kubernetes, a token, or a token file.

    Raises:
        SettingsError: If the settings choose none, or name an unreadable file.
    """
    if settings.role_id:
        secret = _secret_or_file(settings.secret_id, settings.secret_id_file, "VAULT_SECRET_ID_FILE")
        return Login(APPROLE_PATH, f"the AppRole {settings.role_id}", settings.role_id, secret)
    if settings.kubernetes_role:
        jwt = _read(KUBERNETES_TOKEN, "VAULT_KUBERNETES_ROLE")
        who = f"the Kubernetes role {settings.kubernetes_role}"
        return Login(KUBERNETES_PATH, who, settings.kubernetes_role, jwt)
    token = _secret_or_file(settings.token, settings.token_file, "VAULT_TOKEN_FILE")
    if token is None:
        raise SettingsError(
            "VAULT_TOKEN is not set; set it, or VAULT_TOKEN_FILE, VAULT_ROLE_ID or VAULT_KUBERNETES_ROLE,"
            " or USE_VAULT=false to read as PSQL_USER"
        )
    return Login("auth/token/lookup-self", "VAULT_TOKEN" if settings.token else "VAULT_TOKEN_FILE", None, token)


def log_in(client: hvac.Client, login: Login) -> Token:
    """Log in, and make the client use the token. Raises what `REQUEST_ERRORS` lists."""
    if login.path == APPROLE_PATH:
        return _parse_login(client.auth.approle.login(login.role, login.secret)["auth"])
    if login.path == KUBERNETES_PATH:
        return _parse_login(client.auth.kubernetes.login(login.role, login.secret)["auth"])
    previous, client.token = client.token, login.secret
    try:
        found = client.auth.token.lookup_self()["data"]
        return Token(str(login.secret), parse_seconds(found.get("ttl") or 0), bool(found.get("renewable")), False)
    except BaseException:
        client.token = previous
        raise


def read_token_file(settings: VaultSettings) -> str | None:
    """Return the token in VAULT_TOKEN_FILE; None if the settings choose another way to log in.

    Raises:
        SettingsError: If the file cannot be read.
    """
    if settings.token_file is None or settings.token or settings.role_id or settings.kubernetes_role:
        return None
    return _read(Path(settings.token_file), "VAULT_TOKEN_FILE")


def _parse_login(auth: dict[str, object]) -> Token:
    return Token(
        str(auth["client_token"]),
        parse_seconds(auth["lease_duration"]),
        bool(auth["renewable"]),
        is_from_login=True,
        is_batch=auth.get("token_type") == "batch",
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
