"""The two ways to start the service: in production, as a member of a platform, or standalone."""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote

import click

from service.errors import SettingsError
from service.gateway import KongGatewayRegistrator, RegistrationException
from service.postgres.connect import Role
from service.postgres.connector import Connector
from service.postgres.credentials import CurrentCredentials
from service.postgres.host_watch import HostWatch
from service.postgres.session_check import check_session_is_kept
from service.postgres.wal_timelines import WalTimelines
from service.runtime.gateway_setup import build_definition, build_instance, build_registrator
from service.runtime.listen_address import check_address, scheme
from service.runtime.tls import read_certificate
from service.settings import PostgresSettings, Settings
from service.standalone.auth_file import write_auth_file
from service.standalone.environment import (
    build_core,
    client_secret,
    ensure_signing_key,
    kept_running,
    single_instance_lock,
    standalone,
)
from service.standalone.home import home
from service.tokens.client_registry import open_clients
from service.tokens.issuer import READ_AND_WRITE, Subject
from service.tokens.key_setup import check_keys, open_issuer, warn_about_permissions
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)


def start_in_production(settings: Settings) -> None:
    """Register with the gateway, check keys, credentials and Postgres, then serve.

    The certificate is checked before the registration, which declares whether the service speaks HTTPS.

    Raises:
        SettingsError: If a setting, a key, the certificate or the registration is unusable.
        DatabaseUnavailable: If Postgres cannot be reached.
        ImportError: If LOANER_NATIVE requires a compiled core and it is missing.
    """
    # Imported late, because they import the core, which a standalone run compiles first.
    from service.cache import open_memcached
    from service.runtime.run_directory import open_run_directory, read_instance_id
    from service.runtime.server import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server installs its handlers
    read_certificate(settings.tls)
    registrator = None if settings.service.discovery == "none" else _register(settings)
    check_keys(settings.tokens)
    warn_about_permissions(settings.tokens)
    open_clients(settings.tokens)
    open_memcached(settings.memcached)
    with (
        open_run_directory() as run_directory,
        _lease_credentials(settings) as credentials,
        _watch_hosts(settings.postgres, run_directory, credentials),
    ):
        check_address(settings.server)
        instance = None
        if registrator is not None:
            instance = build_instance(settings, registrator, read_instance_id(run_directory))
        serve(settings, run_directory, instance=instance, credentials=credentials)


def _register(settings: Settings) -> KongGatewayRegistrator:
    """Register the service with the gateway, and return the client that did so.

    Raises:
        SettingsError: If the registration fails.
    """
    registrator = build_registrator(settings.gateway)
    try:
        registrator.declare(build_definition(settings))
    except RegistrationException as err:
        raise SettingsError(f"API_GATEWAY_URL: registration failed: {err}") from err
    return registrator


@contextmanager
def _lease_credentials(settings: Settings) -> Iterator[dict[Role, SharedCredentials]]:
    """Yield credentials from Vault by role, and renew them until the block ends. Empty if Vault is not used.

    Raises:
        SettingsError: If a setting is wrong.
        VaultUnavailable: If Vault does not issue credentials.
    """
    if settings.postgres.hosts is None or not settings.uses_vault:  # connecting reports a missing host
        yield {}
        return
    from service.vault.credentials import lease_credentials

    with lease_credentials(settings.vault, ("reader", "posting")) as credentials:
        yield credentials


@contextmanager
def _watch_hosts(
    settings: PostgresSettings, run_directory: Path, credentials: Mapping[Role, CurrentCredentials]
) -> Iterator[None]:
    """Find out what every PostgreSQL server is, check that the roles can connect, and watch the servers until the end.

    Raises:
        SettingsError: If PSQL_HOST or a role's user is not set.
        DatabaseUnavailable: If a role cannot connect to the primary, or only by way of a pooler that does not keep
            the session.
    """
    from service.runtime.bootstrap import WAL_TIMELINES_FILE

    timelines = WalTimelines(run_directory / WAL_TIMELINES_FILE)
    watch = HostWatch(settings, timelines, credentials.get("reader"))
    watch.start()
    try:
        for role in ("reader", "posting"):
            if role == "reader" or role in credentials:
                connector = Connector(settings, credentials.get(role), role=role, timelines=timelines)
                check_session_is_kept(connector.connect)
        yield
    finally:
        watch.stop()


def start_standalone(settings: Settings) -> None:
    """Set up everything that the service needs on this machine, then serve without a gateway.

    Raises:
        SettingsError: If a setting is wrong, or if another standalone service is running.
        EmbeddedPostgresError: If PostgreSQL does not start, or does not run any longer.
        ImportError: If LOANER_NATIVE requires a compiled core and it is missing.
    """
    with single_instance_lock():
        check_address(settings.server)
        read_certificate(settings.tls)
        ensure_signing_key(settings.tokens)
        build_core()
        from service.cache import open_memcached
        from service.runtime.run_directory import open_run_directory
        from service.runtime.server import serve

        with open_run_directory() as run_directory, standalone(settings.postgres) as postgres:
            secret = settings.tokens.client_secret or client_secret()
            tokens = settings.tokens.replace(client_secret=secret)
            open_clients(tokens)
            open_memcached(settings.memcached)
            token = open_issuer(tokens, settings.service.name).issue(Subject(tokens.client_id, READ_AND_WRITE))
            write_auth_file(
                home() / ".auth",
                JWT=token,
                CLIENT_ID=tokens.client_id,
                SECRET=secret.get_secret_value(),
                ACCESS_TOKEN_EXPIRES=str(tokens.lifetime_s),  # for commands, which lack the standalone defaults
            )
            log.info("running standalone, without a gateway")
            _print_greeting(settings, token)
            with kept_running(postgres):
                serve(replace(settings, postgres=postgres, tokens=tokens), run_directory, stop_on_hangup=True)


def _print_greeting(settings: Settings, token: str) -> None:
    url = f"{scheme(settings.tls)}://localhost:{settings.server.port}"
    curl = "curl -s" if settings.tls.cert is None else f"curl -s --cacert {quote(settings.tls.cert)}"
    page = f"\n  Page            {url}/app (sign in with the token below)" if settings.server.page else ""
    click.echo(
        f"{page}\n  Documentation   {url}/api/v1\n"
        f"  Try it          {curl} -H 'Authorization: Bearer {token}' {url}/api/v1/loan/1/2020-07-01\n"
        f'  In a shell      source .auth, then use -H "Authorization: Bearer $JWT"\n'
        f'  New token       {curl} -u "$CLIENT_ID:$SECRET" -d grant_type=client_credentials {url}/token\n'
        f"  Stop            Ctrl-C\n"
    )
