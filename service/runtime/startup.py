"""The two ways in which the service starts: as a member of the platform, or standalone."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from shlex import quote

import click

from service.errors import SettingsError
from service.gateway import RegistrationException
from service.gateway.instance import Instance
from service.postgres.connect import Role
from service.postgres.connector import Connector
from service.runtime.gateway_setup import build_definition, build_instance, build_registrator, check_routed
from service.runtime.listen_address import check_address, scheme
from service.runtime.tls import read_certificate
from service.settings import Settings
from service.standalone.environment import (
    build_core,
    client_secret,
    ensure_signing_key,
    single_instance_lock,
    standalone,
    write_auth_file,
)
from service.tokens.client_registry import open_clients
from service.tokens.issuer import READ_AND_WRITE, Subject
from service.tokens.key_setup import check_keys, open_issuer, warn_of_exposure
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)


def start_in_production(settings: Settings) -> None:
    """Register with the gateway first, then look at keys and Postgres, then serve. What fails ends the start. Only the
    certificate is looked at before, since the gateway is told whether to speak https.

    Raises: SettingsError; DatabaseUnavailable; ImportError for a core that is asked for and missing.
    """
    # here, because they bring the core along, which a standalone run may yet compile
    from service.cache import open_memcached
    from service.runtime.run_directory import run_directory
    from service.runtime.server import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server takes the signals
    read_certificate(settings.tls)
    instance = None if settings.service.discovery == "none" else _join(settings)
    check_keys(settings.tokens)
    warn_of_exposure(settings.tokens)
    open_clients(settings.tokens)
    open_memcached(settings.memcached)
    with run_directory() as shared, _credentials(settings) as credentials:
        Connector(settings.postgres, credentials.get("reader")).connect().close()
        if "posting" in credentials:
            Connector(settings.postgres, credentials["posting"], role="posting").connect().close()
        check_address(settings.server)
        serve(settings, shared, instance=instance, credentials=credentials)


def _join(settings: Settings) -> Instance:
    """This process as a member of the platform, whose gateway knows the service. Raises: SettingsError."""
    registrator = build_registrator(settings.gateway)
    try:
        registrator.declare(build_definition(settings))
    except RegistrationException as err:
        raise SettingsError(f"API_GATEWAY_URL: not registered with the gateway: {err}") from err
    check_routed(settings, settings.gateway.timeout_s)
    return build_instance(settings, registrator)


@contextmanager
def _credentials(settings: Settings) -> Iterator[dict[Role, SharedCredentials]]:
    """Who reads from Postgres, and who posts, kept alive meanwhile, as far as Vault says so.

    Raises: SettingsError; VaultUnavailable.
    """
    vault, postgres = settings.vault, settings.postgres
    unasked = vault.enabled is None and postgres.password is not None
    if vault.enabled is False or unasked or postgres.hosts is None:  # without a host, connecting says so
        yield {}
        return
    from service.vault.lease import VaultLease

    roles: dict[Role, str | None] = {"reader": vault.role, "posting": vault.posting_role}
    kept: dict[Role, SharedCredentials] = {}
    with ExitStack() as leases:
        for role, name in roles.items():
            if name is not None:
                kept[role] = SharedCredentials()
                lease = VaultLease(vault, name, kept[role])
                lease.start(vault.timeout_s)
                leases.callback(lease.stop)
        yield kept


def start_standalone(settings: Settings) -> None:
    """Bring everything along, and serve without a gateway.

    Raises: SettingsError; EmbeddedPostgresError; ImportError for a core that is asked for and missing.
    """
    with single_instance_lock():
        check_address(settings.server)
        read_certificate(settings.tls)
        ensure_signing_key(settings.tokens)
        build_core()
        from service.cache import open_memcached
        from service.runtime.run_directory import run_directory
        from service.runtime.server import serve

        with run_directory() as shared, standalone(settings.postgres) as postgres:
            secret = settings.tokens.client_secret or client_secret()
            tokens = settings.tokens.replace(client_secret=secret)
            open_clients(tokens)
            open_memcached(settings.memcached)
            token = open_issuer(tokens, settings.service.name).issue(Subject(tokens.client_id, READ_AND_WRITE))
            lifetime = str(tokens.lifetime_s)  # for the commands, which do not know of the run
            shown = secret.get_secret_value()
            write_auth_file(JWT=token, CLIENT_ID=tokens.client_id, SECRET=shown, ACCESS_TOKEN_EXPIRES=lifetime)
            log.info("running standalone: no gateway is needed, and none is told")
            _greet(settings, token)
            serve(replace(settings, postgres=postgres, tokens=tokens), shared, stop_on_hangup=True)


def _greet(settings: Settings, token: str) -> None:
    url = f"{scheme(settings.tls)}://localhost:{settings.server.port}"
    curl = "curl -s" if settings.tls.cert is None else f"curl -s --cacert {quote(settings.tls.cert)}"
    click.echo(
        f"\n  Documentation   {url}/api/v1\n"
        f"  A first answer  {curl} -H 'Authorization: Bearer {token}' {url}/api/v1/loan/1/2020-07-01\n"
        f'  In a shell      source .auth   (then: -H "Authorization: Bearer $JWT")\n'
        f'  A token anew    {curl} -u "$CLIENT_ID:$SECRET" -d grant_type=client_credentials {url}/token\n'
        f"  To stop         Ctrl-C\n"
    )
