"""Every setting of the service, declared once, in one group for each package that reads them.

Settings come from the environment, from `.env` and `.auth` if present, and from files in /run/secrets that are named
like a setting. A factory takes the group of its package; only service.runtime and service.cli see `Settings`.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import SettingsError
from service.misspelling import closest
from service.net.hosts import checked_name, normalized
from service.net.urls import without_password
from service.setting_messages import expectation
from service.setting_sources import read_sources


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _timezone(name: str) -> str:
    name = name.strip()
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as err:
        raise ValueError("expected the name of a time zone, such as UTC or Europe/Paris") from err
    return name


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", text):
        raise ValueError("expected letters, digits and . _ ~ - only")
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        raise ValueError("expected a path such as /loaner")
    return text


def _ip_address(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as err:
        raise ValueError("expected an IP address, such as 0.0.0.0 or 127.0.0.1") from err


def _networks(text: str) -> str:
    try:
        networks = [str(ipaddress.ip_network(part.strip())) for part in text.split(",") if part.strip()]
    except ValueError as err:
        raise ValueError("expected comma-separated addresses or networks, such as 10.0.0.0/8, ::1") from err
    return ", ".join(networks)


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError("expected a URL such as http://kong:8001")
    return url.rstrip("/")


def _host_name(text: str) -> str:
    try:
        return checked_name(text)
    except ValueError as err:
        raise ValueError("expected a host name or an IP address, without a port") from err


def _postgres_hosts(text: str, info: ValidationInfo) -> str:
    return normalized(text, info.data.get("port", 0))


def _memcached_hosts(text: str) -> str:
    return normalized(text, MEMCACHED_PORT)


def _file_name(text: str) -> str:
    if "\n" in text:  # logs name unreadable files, and must not show a private key
        raise ValueError("expected the name of a file, not its content")
    return text


def _long_secret(secret: SecretStr) -> SecretStr:
    if len(secret) < MIN_SECRET_CHARS:
        raise ValueError(f"expected at least {MIN_SECRET_CHARS} characters")
    return secret


def _header_value(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not (value.isprintable() and value.isascii() and value == value.strip()):
        raise ValueError("expected one line of ASCII characters without spaces around it")
    return secret


SECRETS = Path("/run/secrets")  # where Docker and Kubernetes mount secrets: a file per setting
ENV_FILES = (Path(".auth"), Path(".env"))  # in the working directory; the first that has a setting counts
ENVIRONMENT_ONLY = "LOANER_NATIVE"  # read by the core, from the environment only
MIN_SECRET_CHARS = 16
MEMCACHED_PORT = 11211
PROCESSORS = os.cpu_count() or 1
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, AfterValidator(_name)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
# A distinct type, because a deployment to another host sends these files along.
FileName = Annotated[str, AfterValidator(_file_name)]
HostName = Annotated[str, AfterValidator(_host_name)]
Flag = Annotated[bool, BeforeValidator(_lower)]  # with spaces around it, as numbers may have
HeaderSecret = Annotated[SecretStr, AfterValidator(_header_value)]


def _setting(name: str, default: Any, description: str, **bounds: Any) -> Any:
    """Declare a setting by its name in the environment."""
    return Field(default, validation_alias=name, description=description, **bounds)


class Group(BaseModel):
    """Settings that one package reads. A field's alias is its name in the environment."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True, validate_by_alias=True
    )

    @field_validator("*")
    @classmethod
    def _reject_blank(cls, value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and text.isspace():
            raise ValueError("expected text that is not blank")
        return value

    def replace(self, **changes: object) -> Self:
        """Return a copy with other values for some fields, validated like any other."""
        return type(self).model_validate({**{name: getattr(self, name) for name in self.model_fields_set}, **changes})


class ServerSettings(Group):
    """The process that answers requests."""

    listen_host: Annotated[str, AfterValidator(_ip_address)] = _setting(
        "LISTEN_HOST",
        "0.0.0.0",  # noqa: S104  (a container's port is published from outside)
        "IP address to listen on.",
    )
    port: Port = _setting("PORT", 5555, "TCP port to listen on.")
    workers: int = _setting("WORKERS", min(PROCESSORS, 8), "Number of worker processes.", ge=1, le=256)
    threads: int = _setting(
        "THREADS",
        4,
        (
            "Number of threads per worker that run requests. Requests and replies on the network, and balances of "
            "cached loans, take none."
        ),
        ge=1,
        le=256,
    )
    queue_size: int = _setting(
        "QUEUE_SIZE",
        1024,
        "Maximum number of requests per worker that wait for a thread. Beyond it, the reply is 503 with Retry-After.",
        ge=0,
        le=65_536,
    )
    body_timeout_s: float = _setting(
        "BODY_TIMEOUT_S",
        30,
        "Maximum time until the body of a request has arrived, in seconds. Then the reply is 408.",
        gt=0,
        le=3600,
    )
    silence_timeout_s: float = _setting(
        "SILENCE_TIMEOUT_S",
        10,
        (
            "Maximum time, in seconds, in which a client sends nothing of a body that it has begun, or takes nothing "
            "of its reply. Then the connection is closed."
        ),
        gt=0,
        le=3600,
    )
    max_connections: int = _setting(
        "MAX_CONNECTIONS",
        4096,
        (
            "Maximum number of open connections per worker, including silent ones. Further connections wait in the "
            "queue of the operating system. Bounds the memory and the file descriptors of a worker."
        ),
        ge=1,
        le=65_536,
    )
    header_timeout_s: float = _setting(
        "HEADER_TIMEOUT_S",
        75,
        (
            "Maximum time until the head of the next request has arrived on a connection, in seconds. Then the "
            "connection is closed, so that silent clients cannot keep it. This also ends idle connections of the "
            "gateway: the value must exceed the gateway's idle timeout, by default 60 in Kong "
            "(upstream_keepalive_idle_timeout) and in nginx (keepalive_timeout of an upstream)."
        ),
        ge=1,
        le=3600,
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = _setting(
        "LOG_LEVEL", "INFO", "Minimum level of log messages."
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = _setting(
        "LOG_FORMAT", "text", "Format of the log on standard error: lines of text, or one JSON object a line."
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = _setting(
        "TIMEZONE", "UTC", "IANA time zone that determines today's date."
    )
    drain_s: float = _setting(
        "DRAIN_S",
        5,
        "Time between leaving the gateway and stopping, in seconds. Requests are still served.",
        ge=0,
        le=300,
    )
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = _setting(
        "TRUSTED_PROXIES",
        "127.0.0.1, ::1",
        "Comma-separated addresses and networks whose X-Forwarded-* headers are trusted.",
    )
    page: Flag = _setting("PAGE", True, "Whether to serve the page /app, which shows loans in a browser.")


class TlsSettings(Group):
    """The certificate that the service presents."""

    cert: FileName | None = _setting(
        "TLS_CERT",
        None,
        (
            "PEM file with the server certificate, followed by its intermediates. Requires TLS_KEY. The "
            "service then speaks HTTPS only and reloads changed files."
        ),
    )
    key: FileName | None = _setting("TLS_KEY", None, "PEM file with the private key of TLS_CERT, without a passphrase.")


class ServiceSettings(Group):
    """The service as the platform knows it."""

    name: Name = _setting("SERVICE_NAME", "loaner", "Name of the service and of its route on the gateway.")
    host: HostName = _setting(
        "SERVICE_HOST",
        "loaner.service.consul",
        "Host name at which the gateway reaches the service, with SERVICE_DISCOVERY=consul.",
        min_length=1,
    )
    port: Port | None = _setting("SERVICE_PORT", None, "Port at which the gateway reaches the service. Default: PORT.")
    path: Annotated[str, AfterValidator(_path)] = _setting(
        "SERVICE_PATH", "/loaner", "Path of the service on the gateway. Kong strips it."
    )
    discovery: Annotated[Literal["consul", "upstream", "none"], BeforeValidator(_lower)] = _setting(
        "SERVICE_DISCOVERY",
        "consul",
        (
            "How the gateway finds the service: by resolving SERVICE_HOST (consul), or as a target of an "
            "upstream (upstream). none disables the gateway."
        ),
    )
    instance_host: HostName | None = _setting(
        "INSTANCE_HOST",
        None,
        (
            "Address of this instance, for an upstream and for Consul. Default: the local address that "
            "routes to the gateway."
        ),
        min_length=1,
    )


class GatewaySettings(Group):
    """Kong's Admin API, and what the service declares there."""

    url: HttpUrl = _setting("API_GATEWAY_URL", "http://localhost:8001", "URL of Kong's Admin API.")
    token: HeaderSecret | None = _setting(
        "API_GATEWAY_TOKEN", None, "Value of the Kong-Admin-Token header (Kong Enterprise RBAC)."
    )
    key: HeaderSecret | None = _setting("API_GATEWAY_KEY", None, "API key for an Admin API behind the key-auth plugin.")
    key_header: Name = _setting("API_GATEWAY_KEY_HEADER", "apikey", "Header that carries API_GATEWAY_KEY.")
    workspace: Name | None = _setting("API_GATEWAY_WORKSPACE", None, "Kong Enterprise workspace.")
    ca: FileName | None = _setting(
        "API_GATEWAY_CA",
        None,
        "PEM file of CA certificates for the Admin API. Default: the system's.",
    )
    timeout_s: float = _setting("GATEWAY_TIMEOUT_S", 60, "Registration timeout at startup, in seconds.", gt=0, le=3600)
    interval_s: float = _setting(
        "GATEWAY_INTERVAL_S", 30, "Interval between reconciliations with the gateway, in seconds.", ge=1, le=86_400
    )
    target_timeout_s: float = _setting(
        "GATEWAY_TARGET_TIMEOUT_S",
        120,
        (
            "Time for which a target of the upstream must be unhealthy, in seconds, before another instance removes "
            "it, and for which a release must be gone before the others replace its declaration."
        ),
        ge=1,
        le=86_400,
    )
    plugins: FileName | None = _setting(
        "GATEWAY_PLUGINS", None, "YAML file of the Kong plugins to configure for this service."
    )
    proxy_url: HttpUrl | None = _setting(
        "GATEWAY_PROXY_URL",
        None,
        (
            "URL of the gateway's proxy. If set, each instance checks that calls through it arrive at this service, "
            "once it has joined and after each comparison. If they do not by GATEWAY_TIMEOUT_S, the instance stops."
        ),
    )


class ConsulSettings(Group):
    """The local Consul agent."""

    agent_url: HttpUrl | None = _setting(
        "CONSUL_AGENT_URL",
        None,
        ("URL of the local Consul agent to register with. Not set: the platform registers instances."),
    )
    token: HeaderSecret | None = _setting("CONSUL_TOKEN", None, "ACL token for the Consul agent.")


@dataclass(frozen=True)
class Login:
    """A user of Postgres and its password, if it has one."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PoolSettings:
    """The bounds of a pool of connections.

    Args:
        size: Connections at most.
        wait_s: Seconds to wait for a free connection.
        timeout_s: Seconds that a statement, or a stream of rows as a whole, may take.
    """

    size: int
    wait_s: float
    timeout_s: float


class PostgresSettings(Group):
    """The database, who connects to it, and for how long."""

    # Declared before the hosts, whose validation needs it to find duplicates.
    port: Port = _setting("PSQL_PORT", 5432, "Port of PostgreSQL hosts that do not name one.")
    hosts: Annotated[str, AfterValidator(_postgres_hosts)] | None = _setting(
        "PSQL_HOST",
        None,
        (
            "Comma-separated PostgreSQL servers, host or host:port: the primary and its replicas, in any "
            "order. Required in production."
        ),
    )
    database: str = _setting("PSQL_DB", "loaner", "Name of the database.", min_length=1)
    user: str = _setting(
        "PSQL_USER",
        "loaner",
        "Role that reads; a member of loaner_reader. Not used with Vault credentials.",
        min_length=1,
    )
    password: SecretStr | None = _setting("PSQL_PW", None, "Password of PSQL_USER.")
    posting_user: str | None = _setting(
        "PSQL_POSTING_USER",
        None,
        ("Role that posts; a member of loaner_poster. Enables posting over HTTP and `load`."),
    )
    posting_password: SecretStr | None = _setting("PSQL_POSTING_PW", None, "Password of PSQL_POSTING_USER.")
    admin_user: str | None = _setting(
        "PSQL_ADMIN_USER", None, "Role that owns the tables. Required by `migrate`, unless VAULT_ADMIN_ROLE is set."
    )
    admin_password: SecretStr | None = _setting("PSQL_ADMIN_PW", None, "Password of PSQL_ADMIN_USER.")
    pool_size: int = _setting(
        "PSQL_POOL_SIZE",
        4,
        "Maximum number of reading connections per worker, to the primary and to replicas each.",
        ge=1,
        le=256,
    )
    posting_pool_size: int = _setting(
        "PSQL_POSTING_POOL_SIZE", 2, "Maximum number of posting connections per worker.", ge=1, le=256
    )
    report_timeout_s: float = _setting(
        "PSQL_REPORT_TIMEOUT_S",
        300,
        "Maximum duration of a portfolio, in seconds, until its last row is sent.",
        ge=0.001,
        le=86_400,
    )
    connect_timeout_s: int = _setting(
        "PSQL_CONNECT_TIMEOUT_S",
        3,
        "Connection timeout, in seconds. Several hosts share it; each gets at least one second.",
        ge=1,
        le=60,
    )
    statement_timeout_s: float = _setting(
        "PSQL_STATEMENT_TIMEOUT_S", 5, "Maximum duration of a read or a posting, in seconds.", ge=0.001, le=300
    )
    pool_timeout_s: float = _setting(
        "PSQL_POOL_TIMEOUT_S",
        0.5,
        "Maximum wait for a free connection, in seconds. Then the reply is 503.",
        gt=0,
        le=60,
    )

    @property
    def reader(self) -> Login:
        """The login that reads."""
        return Login(self.user, _revealed(self.password))

    @property
    def poster(self) -> Login | None:
        """The login that posts, or None if PSQL_POSTING_USER is not set."""
        return None if self.posting_user is None else Login(self.posting_user, _revealed(self.posting_password))

    @property
    def admin(self) -> Login | None:
        """The login that owns the tables, or None if PSQL_ADMIN_USER is not set."""
        return None if self.admin_user is None else Login(self.admin_user, _revealed(self.admin_password))

    @property
    def pool(self) -> PoolSettings:
        """The bounds of a worker's pool of connections that read."""
        return PoolSettings(self.pool_size, self.pool_timeout_s, self.statement_timeout_s)

    @property
    def posting_pool(self) -> PoolSettings:
        """The bounds of a worker's pool of connections that post."""
        return PoolSettings(self.posting_pool_size, self.pool_timeout_s, self.statement_timeout_s)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


class LedgerSettings(Group):
    """What may be posted."""

    max_future_days: int = _setting(
        "MAX_FUTURE_DAYS",
        366,
        "Maximum number of days by which an event may be dated ahead of today. 0 allows any date.",
        ge=0,
        le=3_652_059,
    )


class CacheSettings(Group):
    """How old a reply may be, and how much each worker keeps."""

    max_staleness_s: float = _setting(
        "MAX_STALENESS_S",
        5,
        "Maximum age of a cached reply, in seconds. 0 disables caching.",
        ge=0,
        le=3600,
    )
    size_bytes: int = _setting("CACHE_BYTES", 64_000_000, "Size of each worker's in-memory cache, in bytes.", ge=0)


class MemcachedSettings(Group):
    """The cache that all instances share."""

    servers: Annotated[str, AfterValidator(_memcached_hosts)] | None = _setting(
        "MEMCACHED_SERVERS",
        None,
        ("Comma-separated memcached servers, host or host:port (default port 11211). The same on every instance."),
    )
    secret: Annotated[SecretStr, AfterValidator(_long_secret)] | None = _setting(
        "CACHE_SECRET",
        None,
        (
            "Secret that signs values in memcached, at least 16 characters. Required with MEMCACHED_SERVERS."
            " The same on every instance."
        ),
    )
    timeout_s: float = _setting(
        "MEMCACHED_TIMEOUT_S",
        0.05,
        (
            "Maximum duration of a memcached operation, in seconds, from connecting to the last byte. "
            "Proportionally more for more than 100 loans."
        ),
        gt=0,
        le=10,
    )
    tls: Flag = _setting("MEMCACHED_TLS", False, "Whether to connect to memcached over TLS.")
    ca: FileName | None = _setting(
        "MEMCACHED_CA", None, "PEM file of CA certificates for memcached. Default: the system's."
    )


class VaultSettings(Group):
    """Vault, which issues credentials for Postgres, and how to log in to it."""

    enabled: Flag | None = _setting(
        "USE_VAULT",
        None,
        "Whether to get the credentials of the roles below from Vault.",
    )
    addr: HttpUrl = _setting("VAULT_ADDR", "http://127.0.0.1", "URL of Vault.")
    port: Port = _setting("VAULT_PORT", 8200, "Port of Vault, if VAULT_ADDR names none.")
    ca: FileName | None = _setting("VAULT_CA", None, "PEM file of CA certificates for Vault. Default: the system's.")
    token: HeaderSecret | None = _setting("VAULT_TOKEN", None, "Vault token.")
    token_file: FileName | None = _setting(
        "VAULT_TOKEN_FILE",
        None,
        "File with a Vault token, such as one that Vault Agent writes. Reloaded when it changes.",
    )
    role_id: str | None = _setting("VAULT_ROLE_ID", None, "AppRole role ID.")
    secret_id: SecretStr | None = _setting("VAULT_SECRET_ID", None, "AppRole secret ID.")
    secret_id_file: FileName | None = _setting("VAULT_SECRET_ID_FILE", None, "File with the AppRole secret ID.")
    kubernetes_role: str | None = _setting(
        "VAULT_KUBERNETES_ROLE", None, "Vault role for the pod's Kubernetes service account."
    )
    role: Name = _setting("VAULT_ROLE", "readonly", "Database role whose credentials read.")
    posting_role: Name | None = _setting(
        "VAULT_POSTING_ROLE", None, "Database role whose credentials post. Not set: PSQL_POSTING_USER posts."
    )
    admin_role: Name | None = _setting(
        "VAULT_ADMIN_ROLE",
        None,
        "Database role whose credentials `migrate` and `close` use. Not set: PSQL_ADMIN_USER.",
    )
    mount: str = _setting("VAULT_MOUNT", "database", "Mount path of Vault's database secrets engine.", min_length=1)
    timeout_s: float = _setting(
        "VAULT_TIMEOUT_S", 10, "Time to keep retrying Vault at startup, in seconds.", gt=0, le=3600
    )

    @property
    def has_login(self) -> bool:
        """Whether a way to log in is set."""
        return any((self.role_id, self.kubernetes_role, self.token, self.token_file))

    @property
    def roles(self) -> dict[str, str | None]:
        """The database role of readers, of those who post, and of administrators; None if their user is a setting."""
        return {"reader": self.role, "posting": self.posting_role, "admin": self.admin_role}


class TokenSettings(Group):
    """Keys, clients, and the tokens that the service issues."""

    keys_dir: str = _setting("KEYS_DIR", "keys", "Directory of the key files.", min_length=1)
    secure_loans: Flag = _setting("SECURE_LOANS", True, "Whether reading loans requires a token. Posting always does.")
    clients_file: FileName = _setting(
        "CLIENTS_FILE", "clients.json", "JSON file of the clients of /token. Reloaded when it changes.", min_length=1
    )
    client_id: Name = _setting(
        "CLIENT_ID", "loaner-client", "ID of an additional client of /token, with the scope api:read."
    )
    client_secret: SecretStr | None = _setting(
        "SECRET", None, "Secret of CLIENT_ID. Not set: the client does not exist."
    )
    lifetime_s: int = _setting(
        "ACCESS_TOKEN_EXPIRES",
        3600,
        "Lifetime of tokens that this service issues, in seconds.",
        ge=1,
        le=2_592_000,
    )


@dataclass(frozen=True)
class Settings:
    """The settings of one process, by group."""

    server: ServerSettings = field(default_factory=ServerSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    service: ServiceSettings = field(default_factory=ServiceSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    consul: ConsulSettings = field(default_factory=ConsulSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    memcached: MemcachedSettings = field(default_factory=MemcachedSettings)
    vault: VaultSettings = field(default_factory=VaultSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)

    @property
    def uses_vault(self) -> bool:
        """Whether the service gets its credentials for Postgres from Vault."""
        return self.postgres.password is None if self.vault.enabled is None else self.vault.enabled


_GROUPS: dict[str, type[Group]] = get_type_hints(Settings)


def all_settings() -> Iterator[tuple[str, FieldInfo, type[Group]]]:
    """Yield each setting's name in the environment, its declaration, and its group, in the order of declaration."""
    for group in _GROUPS.values():
        for info in group.model_fields.values():
            yield str(info.validation_alias), info, group


def given_settings(settings: Settings) -> dict[str, object]:
    """Return the settings that were given explicitly, by name in lower case."""
    groups: list[Group] = [getattr(settings, name) for name in _GROUPS]
    return {
        str(info.validation_alias).lower(): getattr(group, name)
        for group in groups
        for name, info in type(group).model_fields.items()
        if name in group.model_fields_set
    }


def _file_settings() -> Iterator[str]:
    for group in _GROUPS.values():
        kinds = get_type_hints(group, include_extras=True)
        for name, info in group.model_fields.items():
            if FileName in (kinds[name], *get_args(kinds[name])):
                yield str(info.validation_alias)


FILE_SETTINGS = frozenset(_file_settings())  # names of the settings whose values name files


class _Sources(BaseSettings):
    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)


# The unvalidated values of all sources. The groups validate them.
_Given = create_model("_Given", __base__=_Sources, **{name.lower(): (Any, None) for name, _, _ in all_settings()})  # type: ignore[call-overload]


@dataclass(frozen=True)
class SettingReport:
    """What is known about one setting.

    Attributes:
        name: Its name in the environment.
        source: Where its value comes from.
        value: Its value, with asterisks in place of a secret; None if it is not set. Meaningless if it is invalid.
        error: What was expected, if the given value is invalid.
    """

    name: str
    source: str
    value: str | None
    error: str | None


def load_settings(defaults: Mapping[str, object] | None = None, /, **overrides: object) -> Settings:
    """Read the settings from the environment, `.env`, `.auth` and the files in /run/secrets.

    Args:
        defaults: Values for settings that are not set, by name in lower case.
        overrides: Values that win over the environment, by name in lower case. `_env_file` replaces `.env` and `.auth`.

    Raises:
        SettingsError: If a setting is invalid. The message names each one and what was expected, but shows no value.
    """
    env_files = _env_files(overrides.pop("_env_file")) if "_env_file" in overrides else ENV_FILES
    values = dict(defaults or {})
    for source in reversed(read_sources(_Given, env_files, SECRETS)):
        values.update(source.values)
    groups, errors = _validate({**values, **overrides})
    if errors:
        raise SettingsError("; ".join(f"{name}: {reason}" for name, reason in errors.items()))
    return Settings(**groups)


def report_settings(defaults: Mapping[str, object]) -> list[SettingReport]:
    """Return the value of every setting and its source, in the order of declaration. Invalid values are not shown.

    Raises:
        SettingsError: If a source cannot be read.
    """
    values, sources = dict(defaults), dict.fromkeys(defaults, "standalone default")
    for source in reversed(read_sources(_Given, ENV_FILES, SECRETS)):
        values.update(source.values)
        sources.update(dict.fromkeys(source.values, source.label))
    _, errors = _validate(values)
    groups, _ = _validate({name: value for name, value in values.items() if name.upper() not in errors})
    return [
        SettingReport(
            name, sources.get(name.lower(), "default"), _shown(getattr(groups[group], field)), errors.get(name)
        )
        for group, kind in _GROUPS.items()
        for field, info in kind.model_fields.items()
        for name in [str(info.validation_alias)]
    ]


def _shown(value: object) -> str | None:
    """Return a valid value without its secrets; None if it is not set."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return without_password(text) if "://" in text else text


def misspelt_settings() -> Iterator[tuple[str, str, str]]:
    """Yield names that are probably misspelt, each with its source and the setting that was probably meant.

    Raises:
        SettingsError: If a source cannot be read.
    """
    known = {*(name for name, _, _ in all_settings()), ENVIRONMENT_ONLY}
    for source in read_sources(_Given, ENV_FILES, SECRETS):
        for name in sorted(source.names - known):
            meant = closest(name, known)
            if meant is not None:
                yield name, source.label, meant


def _validate(values: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the valid groups by name, and for each invalid setting what was expected."""
    groups: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for group_name, group in _GROUPS.items():
        names = [str(info.validation_alias) for info in group.model_fields.values()]
        try:
            groups[group_name] = group.model_validate(
                {name: values[name.lower()] for name in names if name.lower() in values}
            )
        except ValidationError as err:
            schemas = group.model_json_schema()["properties"]
            for each in err.errors():
                name = str(each["loc"][0])
                reason = each["msg"].removeprefix("Value error, ")
                errors[name] = reason if each["type"] == "value_error" else expectation(schemas[name])
    return groups, errors


def _env_files(file: object) -> tuple[Path, ...]:
    return () if file is None else (Path(str(file)),)
