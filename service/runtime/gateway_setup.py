"""From settings to a member of the platform: how the gateway is reached, and what it is asked for."""

import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.errors import SettingsError
from service.gateway import KongGatewayRegistrator, RegistrationException
from service.gateway.admin_api import Access
from service.gateway.definition import Definition
from service.gateway.instance import Instance
from service.gateway.plugins_file import read_plugins
from service.gateway.routed import wait_until_routed
from service.net.urls import without_password
from service.runtime.listen_address import own_url, scheme
from service.settings import GatewaySettings, Settings
from service.tokens.key_setup import open_issuer

READY_TIMEOUT_S = 5


def build_registrator(settings: GatewaySettings) -> KongGatewayRegistrator:
    """Who registers with this gateway."""
    headers = {}
    if settings.token:
        headers["Kong-Admin-Token"] = settings.token.get_secret_value()
    if settings.key:
        headers[settings.key_header] = settings.key.get_secret_value()
    if settings.ca and not Path(settings.ca).is_file():
        raise SettingsError(f"API_GATEWAY_CA: {settings.ca} is not a file")
    access = Access(headers, settings.workspace, settings.ca)
    return KongGatewayRegistrator(settings.url, settings.timeout_s, access)


def build_definition(settings: Settings) -> Definition:
    """What this service wants of the gateway. Raises: SettingsError for a file of plugins that cannot be used."""
    plugins = None
    if settings.gateway.plugins is not None:
        try:
            plugins = read_plugins(Path(settings.gateway.plugins))
        except RegistrationException as err:
            raise SettingsError(f"GATEWAY_PLUGINS: {err}") from err
    return Definition(
        settings.service.name,
        (settings.service.path,),
        settings.service.host,
        settings.service.port or settings.server.port,
        health_path="/ready" if settings.service.discovery == "upstream" else None,
        plugins=plugins,
        jwt_keys=_public_keys(settings) if any(plugin.name == "jwt" for plugin in plugins or ()) else {},
        protocol=scheme(settings.tls),
    )


def build_instance(settings: Settings, registrator: KongGatewayRegistrator) -> Instance:
    """This process as a member of the platform."""
    from service.observability import metrics  # here, because commands that do not serve need none

    consul = None
    if settings.consul.agent_url is not None:
        from service.gateway.consul import ConsulAgent

        if urlsplit(settings.consul.agent_url).path:
            raise SettingsError("CONSUL_AGENT_URL: expected a URL without a path, such as http://127.0.0.1:8500")
        token = settings.consul.token.get_secret_value() if settings.consul.token else None
        consul = ConsulAgent(settings.consul.agent_url, token)
    return Instance(
        registrator,
        lambda: build_definition(settings),
        (settings.service.instance_host or _address_towards(settings.gateway.url)).strip("[]"),
        settings.service.port or settings.server.port,
        ready=_readiness_probe(f"{own_url(settings.server, settings.tls)}/ready"),
        interval_s=settings.gateway.interval_s,
        consul=consul,
        on_state=metrics.gateway_registered.set,
    )


def check_routed(settings: Settings, timeout_s: float) -> str | None:
    """Wait until the gateway's proxy routes here, if it is known where it is. Returns: what was asked.

    Raises: SettingsError when the time is over.
    """
    if settings.gateway.proxy_url is None:
        return None
    url = f"{settings.gateway.proxy_url}{settings.service.path}/healthcheck"
    try:
        wait_until_routed(url, timeout_s, settings.gateway.ca)
    except RegistrationException as err:
        raise SettingsError(f"GATEWAY_PROXY_URL: {err}") from err
    return without_password(url)


def _readiness_probe(url: str) -> Callable[[], bool]:
    # No proxy stands between us and ourselves, and our certificate need not name the address we reach ourselves at.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    def is_ready() -> bool:
        try:
            with opener.open(url, timeout=READY_TIMEOUT_S) as reply:
                return bool(reply.status == 200)
        except HTTPError as err:
            err.close()
        except (OSError, HTTPException):
            pass
        return False

    return is_ready


def _address_towards(url: str) -> str:
    """The address of this machine from which a server is reached. Nothing is sent."""
    parts = urlsplit(url)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as err:
        raise SettingsError(f"INSTANCE_HOST: cannot be found out ({err.strerror}); set it") from err


def _public_keys(settings: Settings) -> dict[str, tuple[str, str]]:
    return {
        key.name: (key.algorithms[0], key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
        for key in open_issuer(settings.tokens, settings.service.name).keys.public()
    }
