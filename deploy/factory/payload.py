"""What the service takes along: those settings that are set here, the files that they name, and its keys."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import SecretStr

from deploy.factory.errors import FactoryError
from security.keys.rotation import State
from service.runtime.tls import read_certificate
from service.settings import SECRETS, FileName, Settings, load_settings
from service.tokens.key_setup import check_keys, open_key_ring

# Where it listens and where its keys are is decided anew there, and who serves has no need to own the tables.
STAY = frozenset({"port", "listen_host", "keys_dir", "psql_admin_user", "psql_admin_pw"})
LIBPQ, LIBPQ_FILES = {"PGSSLMODE"}, {"PGSSLROOTCERT"}  # libpq's own: without them TLS to Postgres would be weaker there
FILES = SECRETS / "files"


@dataclass(frozen=True)
class Luggage:
    """variables: environment of the container, by name. secrets: values by the names of settings; they become files,
    because docker shows variables to everybody who may ask it. files: contents by the names of the settings that name
    them. keys: public keys, and this service's own private ones. left: names in the env file that are no settings.
    """

    variables: Mapping[str, str]
    secrets: Mapping[str, str]
    files: Mapping[str, bytes]
    keys: tuple[Path, ...]
    left: tuple[str, ...]


def read_settings(env_file: Path | None) -> Settings:
    """The settings of this environment, which wins, and of a file. Raises: SettingsError."""
    if env_file is not None and not env_file.is_file():
        raise FactoryError(f"ENV_FILE: {env_file} is not a file")
    return load_settings(_env_file=env_file)


def pack(settings: Settings, env_file: Path | None = None) -> Luggage:
    """Sort what is set by how it travels.

    Raises: FactoryError naming the setting; SettingsError for keys and for a certificate that cannot be used.
    """
    if (settings.service_discovery == "upstream" or settings.consul_agent_url) and settings.instance_host is None:
        raise FactoryError("INSTANCE_HOST is not set; export the host's address, which its container does not know")
    read_certificate(settings)  # what cannot be used is found out before anything is stopped there
    given = {name: getattr(settings, name) for name in settings.model_fields_set - STAY}
    given.setdefault("service_port", settings.port)  # within the container the port is another one
    secrets = {name: _text(value) for name, value in given.items() if _is_secret(value)}
    names_file = {name for name in given if _names_file(name)}
    variables = {name.upper(): _text(given[name]) for name in given.keys() - secrets.keys() - names_file}
    files = {name: _content(name, given[name]) for name in names_file}
    libpq = {name: value for name, value in os.environ.items() if name in LIBPQ | LIBPQ_FILES and value}
    variables |= {name: value for name, value in libpq.items() if name in LIBPQ}
    files |= {name.lower(): _content(name, file) for name, file in libpq.items() if name in LIBPQ_FILES}
    variables |= {name.upper(): str(FILES / name) for name in files}
    for name, value in (variables | secrets).items():
        if value != value.strip() or (name in variables and "\n" in value):
            raise FactoryError(f"{name.upper()}: begins or ends with a blank, or has several lines: it cannot be sent")
    known = {name.upper() for name in Settings.model_fields}
    left = tuple(name for name in dotenv_values(env_file) if name.upper() not in known) if env_file else ()
    return Luggage(variables, secrets, files, _keys(settings), left)


def _keys(settings: Settings) -> tuple[Path, ...]:
    check_keys(settings)
    public: list[Path] = []
    private: list[Path] = []
    for entry in open_key_ring(settings).entries():
        public += [entry.public] if entry.public else []
        private += entry.private if entry.state is not State.PLATFORM else ()
    return (*public, *private)


def _names_file(name: str) -> bool:
    kind = get_type_hints(Settings, include_extras=True)[name]
    return FileName in (kind, *get_args(kind))


def _is_secret(value: object) -> bool:
    return isinstance(value, SecretStr) or (isinstance(value, str) and "://" in value and "@" in urlsplit(value).netloc)


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _content(name: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as err:
        raise FactoryError(f"{name.upper()}: {file} cannot be read: {err.strerror}") from err
