"""Every setting, typed and documented once. They come from the environment, from `.env` and `.auth` if present, and
from files of their names in /run/secrets.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import SettingsError
from service.net.hosts import normalized


def _timezone(name: str) -> str:
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
        raise ValueError("expected addresses or networks with commas between, such as 10.0.0.0/8, ::1") from err
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


def _postgres_hosts(text: str, info: ValidationInfo) -> str:
    return normalized(text, info.data.get("psql_port", 0))


def _memcached_hosts(text: str) -> str:
    return normalized(text, MEMCACHED_PORT)


def _file_name(text: str) -> str:
    if "\n" in text:  # what cannot be read is named in the log, where no private key belongs
        raise ValueError("expected the name of a file, not what is in it")
    return text


def _long_secret(secret: SecretStr) -> SecretStr:
    if len(secret) < MIN_SECRET_CHARS:
        raise ValueError(f"expected {MIN_SECRET_CHARS} characters or more")
    return secret


SECRETS = Path("/run/secrets")  # where Docker and Kubernetes mount secrets: a file per setting
MIN_SECRET_CHARS = 16
MEMCACHED_PORT = 11211
PROCESSORS = os.cpu_count() or 1
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, AfterValidator(_name)]
# marked by its own type: a service that is sent elsewhere needs the file along
FileName = Annotated[str, AfterValidator(_file_name)]


class Settings(BaseSettings):
    """The service's settings; `load_settings` makes one with errors people can read."""

    model_config = SettingsConfigDict(
        env_file=(".env", ".auth"), env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    listen_host: Annotated[str, AfterValidator(_ip_address)] = Field(
        "0.0.0.0",  # noqa: S104  (a container's port is published from outside)
        description="address to listen on (standalone: 127.0.0.1)",
    )
    port: Port = Field(5555, description="port to listen on")
    tls_cert: FileName | None = Field(
        None, description="file of the certificate to show, and of those that vouch for it"
    )
    tls_key: FileName | None = Field(None, description="file of its key; with both, the service speaks https only")
    workers: int = Field(min(PROCESSORS, 8), ge=1, le=256, description="worker processes")
    threads: int = Field(
        2 * PROCESSORS + 1, ge=1, le=256, description="requests that a worker answers at the same time"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="what is logged, and above")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field("UTC", description="where `today` is")

    api_gateway_url: Annotated[str, AfterValidator(_http_url)] = Field(
        "http://localhost:8001", description="Kong's Admin API"
    )
    api_gateway_token: SecretStr | None = Field(None, description="what it is sent as Kong-Admin-Token")
    api_gateway_key: SecretStr | None = Field(None, description="API key of an Admin API behind key-auth")
    api_gateway_key_header: Name = Field("apikey", description="the header that carries it")
    api_gateway_workspace: Name | None = Field(None, description="workspace of Kong Enterprise")
    api_gateway_ca: FileName | None = Field(None, description="file of certificates that its own is checked against")
    gateway_timeout_s: float = Field(60, gt=0, le=3600, description="seconds to keep trying to register")
    gateway_interval_s: float = Field(30, ge=1, le=86_400, description="seconds between two looks at what it has")
    gateway_plugins: FileName | None = Field(None, description="file of plugins that it runs for this service")
    gateway_proxy_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="the gateway's proxy: serve when it routes here"
    )
    service_name: Name = Field("loaner", description="name of the service and of its route on the gateway")
    service_host: str = Field("loaner.service.consul", min_length=1, description="host at which the gateway finds it")
    service_port: Port | None = Field(None, description="port at which the gateway finds it (default: PORT)")
    service_discovery: Literal["consul", "upstream", "none"] = Field(
        "consul",
        description="whether the gateway finds it by SERVICE_HOST or as targets of an upstream, or there is none",
    )
    instance_host: str | None = Field(
        None, min_length=1, description="address of this instance (default: the one that the gateway sees)"
    )
    drain_s: float = Field(5, ge=0, le=300, description="seconds between leaving the gateway and taking no requests")
    consul_agent_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None, description="local Consul agent to register with; none if that is done from outside"
    )
    consul_token: SecretStr | None = Field(None, description="token for the agent")
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "127.0.0.1, ::1", description="addresses or networks whose X-Forwarded-* headers are believed"
    )
    service_path: Annotated[str, AfterValidator(_path)] = Field(
        "/loaner", description="path under which the gateway offers it; stripped before the service"
    )

    psql_port: Port = Field(
        5432, description="Postgres port, of hosts that name none"
    )  # before them: they are compared
    psql_host: Annotated[str, AfterValidator(_postgres_hosts)] | None = Field(
        None, description="Postgres hosts, a primary and its replicas, with commas between; needed in production"
    )
    psql_db: str = Field("loaner", min_length=1, description="Postgres database")
    psql_user: str = Field("loaner", min_length=1, description="user that reads (a member of loaner_reader)")
    psql_pw: SecretStr | None = Field(None, description="its password")
    psql_posting_user: str | None = Field(
        None, description="user that posts: `load`, and over HTTP if set (a member of loaner_poster)"
    )
    psql_posting_pw: SecretStr | None = Field(None, description="its password")
    psql_admin_user: str | None = Field(None, description="user that owns the tables: `migrate`")
    psql_admin_pw: SecretStr | None = Field(None, description="its password")
    psql_pool_size: int = Field(4, ge=1, le=256, description="database connections of each worker")
    psql_posting_pool_size: int = Field(2, ge=1, le=256, description="further ones of each worker, that post")
    psql_report_timeout_s: float = Field(
        300, ge=0.001, le=86_400, description="seconds that a portfolio may take, until its last row is sent"
    )
    psql_connect_timeout_s: int = Field(3, ge=1, le=60, description="seconds to wait for a new connection")
    psql_statement_timeout_s: float = Field(5, ge=0.001, le=300, description="seconds a read or a posting may take")
    psql_pool_timeout_s: float = Field(0.5, gt=0, le=60, description="seconds to wait for a free connection, then 503")

    max_staleness_s: float = Field(
        5, ge=0, le=3600, description="a reply includes every event that was committed so long before; 0 caches nothing"
    )
    cache_bytes: int = Field(64_000_000, ge=0, description="bytes of timelines that each worker keeps")
    memcached_servers: Annotated[str, AfterValidator(_memcached_hosts)] | None = Field(
        None, description="memcached servers with commas between; none if not set"
    )
    cache_secret: Annotated[SecretStr, AfterValidator(_long_secret)] | None = Field(
        None, description="what marks values in memcached as ours; the same for every instance"
    )
    memcached_timeout_s: float = Field(0.05, gt=0, le=10, description="seconds that memcached may be silent")
    memcached_tls: bool = Field(False, description="whether memcached is spoken to over TLS")
    memcached_ca: FileName | None = Field(None, description="file of certificates that its own is checked against")

    use_vault: bool | None = Field(
        None,
        description="whether Vault says who reads (default: in production, unless PSQL_PW is set)",
    )
    vault_addr: Annotated[str, AfterValidator(_http_url)] = Field("http://127.0.0.1", description="Vault's address")
    vault_port: Port = Field(8200, description="its port, unless the address names one")
    vault_ca: FileName | None = Field(None, description="file of certificates that its own is checked against")
    vault_token: SecretStr | None = Field(None, description="token for Vault")
    vault_token_file: FileName | None = Field(None, description="file of such a token, as an agent writes it")
    vault_role_id: str | None = Field(None, description="AppRole to log in with")
    vault_secret_id: SecretStr | None = Field(None, description="its secret")
    vault_secret_id_file: FileName | None = Field(None, description="file of its secret")
    vault_kubernetes_role: str | None = Field(None, description="role to log in with as a Kubernetes service account")
    vault_role: Name = Field("readonly", description="database role whose credentials read")
    vault_posting_role: Name | None = Field(
        None, description="database role whose credentials post (default: PSQL_POSTING_USER posts)"
    )
    vault_mount: str = Field("database", min_length=1, description="where Vault's database secrets are")
    vault_timeout_s: float = Field(10, gt=0, le=3600, description="seconds to keep trying at the start")

    keys_dir: str = Field("keys", min_length=1, description="directory of key files (see keys/README.md)")
    secure_loans: bool = Field(True, description="whether loan routes need a token")
    clients_file: FileName = Field(
        "clients.json", min_length=1, description="file of the clients that may ask for tokens at /token"
    )
    client_id: Name = Field("loaner-client", description="one more such client, which may read")
    secret: SecretStr | None = Field(None, description="its secret; without one, there is no such client")
    access_token_expires: int = Field(
        3600, ge=1, le=2_592_000, description="seconds a token of this service's own is valid (standalone: a day)"
    )


def load_settings(**overrides: object) -> Settings:
    """Read the settings. overrides: values that win over the environment.

    Raises: SettingsError naming each wrong setting and what was expected of it.
    """
    try:
        mounted = SECRETS if SECRETS.is_dir() else None
        return Settings(_secrets_dir=mounted, **overrides)  # type: ignore[arg-type, call-arg]
    except OSError as err:
        raise SettingsError(f"{err.filename} cannot be read: {err.strerror}") from None
    except UnicodeDecodeError as err:
        raise SettingsError(f".env, .auth or a file in {SECRETS} cannot be read: {err}") from None
    except ValidationError as err:
        wrong = [f"{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}" for e in err.errors()]
        raise SettingsError("; ".join(wrong)) from None
