"""What the container gets from this environment: settings that are set, files that they name, and keys."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import SecretStr

from deploy.factory.errors import FactoryError
from security.files import read_bounded
from security.keys.rotation import State
from service.runtime.tls import read_certificate
from service.settings import (
    FILE_SETTINGS,
    SECRETS,
    ServerSettings,
    TlsSettings,
    TokenSettings,
    all_settings,
    given_settings,
    load_settings,
)
from service.tokens.key_setup import check_keys, open_key_ring

# The container has its own listen address and key directory, and serving does not need the owner of the tables.
LOCAL_ONLY = frozenset({"port", "listen_host", "keys_dir", "psql_admin_user", "psql_admin_pw", "vault_admin_role"})
# Variables that libpq itself reads: without them, TLS to Postgres would be weaker in the container.
LIBPQ, LIBPQ_FILES = {"PGSSLMODE"}, {"PGSSLROOTCERT"}
FILES = SECRETS / "files"


@dataclass(frozen=True)
class Payload:
    """Settings, files and keys for the container.

    Args:
        variables: The container's environment, by name.
        secrets: Secret values by setting. They become files, because `docker inspect` shows variables.
        files: File contents by the setting that names the file.
        keys: Public keys, and the private keys that this service owns.
        ignored: Names in the env file that are not settings.
    """

    variables: Mapping[str, str]
    secrets: Mapping[str, str]
    files: Mapping[str, bytes]
    keys: tuple[Path, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class ShippedSettings:
    """The settings of this environment, as far as a deployment reads them.

    Args:
        given: Values of the settings that are set, by name in lower case.
        server: Where the service listens.
        tls: The certificate that it presents.
        tokens: Its key directory.
    """

    given: Mapping[str, object]
    server: ServerSettings
    tls: TlsSettings
    tokens: TokenSettings


def read_settings(env_file: Path | None) -> ShippedSettings:
    """Return the settings of this environment, which take precedence, and of an env file.

    Raises:
        FactoryError: If the env file does not exist.
        SettingsError: If a setting is invalid.
    """
    if env_file is not None and not env_file.is_file():
        raise FactoryError(f"ENV_FILE: {env_file} is not a file")
    settings = load_settings(_env_file=env_file)
    return ShippedSettings(given_settings(settings), settings.server, settings.tls, settings.tokens)


def collect(settings: ShippedSettings, env_file: Path | None = None) -> Payload:
    """Collect the settings that are set, sorted by how they are sent.

    Raises:
        FactoryError: If a setting cannot be sent; the message names it.
        SettingsError: If a key or the certificate cannot be used.
    """
    given = {name: value for name, value in settings.given.items() if name not in LOCAL_ONLY}
    registers = given.get("service_discovery") == "upstream" or given.get("consul_agent_url")
    if registers and given.get("instance_host") is None:
        raise FactoryError(
            "INSTANCE_HOST is not set; set it to the host's address, which the container cannot determine"
        )
    read_certificate(settings.tls)  # an unusable certificate must fail before the host stops anything
    given.setdefault("service_port", settings.server.port)  # the container's own PORT differs
    secrets = {name: _to_text(value) for name, value in given.items() if _is_secret(value)}
    names_file = {name for name in given if name.upper() in FILE_SETTINGS}
    variables = {name.upper(): _to_text(given[name]) for name in given.keys() - secrets.keys() - names_file}
    files = {name: _read_file(name, str(given[name])) for name in names_file}
    libpq = {name: value for name, value in os.environ.items() if name in LIBPQ | LIBPQ_FILES and value}
    variables |= {name: value for name, value in libpq.items() if name in LIBPQ}
    files |= {name.lower(): _read_file(name, file) for name, file in libpq.items() if name in LIBPQ_FILES}
    variables |= {name.upper(): str(FILES / name) for name in files}
    for name, value in (variables | secrets).items():
        if value != value.strip() or (name in variables and "\n" in value):
            raise FactoryError(
                f"{name.upper()}: cannot be sent: it starts or ends with whitespace, or has several lines"
            )
    known = {name for name, _, _ in all_settings()}
    ignored = tuple(name for name in dotenv_values(env_file) if name.upper() not in known) if env_file else ()
    return Payload(variables, secrets, files, _keys(settings.tokens), ignored)


def _keys(settings: TokenSettings) -> tuple[Path, ...]:
    check_keys(settings)
    public: list[Path] = []
    private: list[Path] = []
    for entry in open_key_ring(settings).entries():
        public += [entry.public] if entry.public else []
        private += entry.private if entry.state is not State.PLATFORM else ()
    return (*public, *private)


def _is_secret(value: object) -> bool:
    return isinstance(value, SecretStr) or (isinstance(value, str) and "://" in value and "@" in urlsplit(value).netloc)


def _to_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_file(name: str, file: str) -> bytes:
    try:
        return read_bounded(Path(file))
    except OSError as err:
        raise FactoryError(f"{name.upper()}: {file} cannot be read: {err.strerror}") from err
