"""The two ways in which the service starts: as a member of the platform, or standalone."""

import logging

import click

from security import KeyStore
from service.database import connect
from service.errors import SettingsError
from service.gateway import KongGatewayRegistrator, RegistrationException
from service.settings import Settings
from service.standalone import build_core, make_own_keys, standalone, write_auth
from service.tokens import own_issuer

log = logging.getLogger(__name__)

STANDALONE_TOKEN_S = 86_400


def start_in_production(settings: Settings) -> None:
    """Register with the gateway first, then look at keys and Postgres, then serve. What fails ends the start.

    Raises: SettingsError; DatabaseUnavailable.
    """
    if settings.psql_host is None:
        raise SettingsError("PSQL_HOST is not set; export it, or add --standalone for a run that needs no database")
    try:
        KongGatewayRegistrator(settings.api_gateway_url, settings.gateway_timeout_s).register(
            name=settings.service_name,
            paths=[settings.service_path],
            host=settings.service_host,
            port=settings.service_port or settings.port,
        )
    except RegistrationException as err:
        raise SettingsError(f"API_GATEWAY_URL: not registered with the gateway: {err}") from err
    from service.bootstrap import open_keys
    from service.server import serve

    open_keys(settings)
    connect(settings).close()
    serve(settings)


def start_standalone(settings: Settings) -> None:
    """Bring everything along, and serve without a gateway.

    Raises: SettingsError; EmbeddedPostgresError.
    """
    build_core()
    make_own_keys(settings)
    with standalone(settings, serving=True) as chosen:
        from service.server import serve

        issuer = own_issuer(chosen, KeyStore(chosen.keys_dir))
        if issuer is None:
            raise SettingsError(f"KEYS_DIR: {chosen.keys_dir} holds a loaner.pub without its private key, loaner")
        token = issuer.issue(chosen.client_id, ["api:read"], STANDALONE_TOKEN_S)
        write_auth(token)
        log.info("running standalone: no gateway is needed, and none is told")
        _greet(chosen, token)
        serve(chosen)


def _greet(settings: Settings, token: str) -> None:
    url = f"http://localhost:{settings.port}"
    click.echo(
        f"\n  Documentation   {url}/api/v1\n"
        f"  A first answer  curl -s -H 'Authorization: Bearer {token}' {url}/api/v1/loan/1/2020-07-01\n"
        f'  In a shell      source .auth   (then: -H "Authorization: Bearer $JWT")\n'
        f"  To stop         Ctrl-C\n"
    )
