"""Builds the registration with the gateway from the settings."""

import logging
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.errors import SettingsError
from service.gateway import KongGatewayRegistrator, RegistrationException
from service.gateway.admin_api import Access
from service.gateway.consul import ConsulAgent, ConsulUnavailable
from service.gateway.correlation import correlation_header
from service.gateway.definition import Definition
from service.gateway.identity import Identity
from service.gateway.instance import Instance, Timing
from service.gateway.plugins_file import read_plugins
from service.gateway.route_check import NameWatch, RouteCheck
from service.gateway.routed import check_routed, wait_until_routed
from service.net.session import direct_session
from service.net.urls import without_password
from service.runtime.listen_address import local_url, scheme
from service.settings import GatewaySettings, Settings
from service.tokens.key_setup import open_issuer, open_keys
from service.tokens.shared_secrets import SharedSecrets

READY_TIMEOUT_S = 5

log = logging.getLogger(__name__)


def build_registrator(settings: GatewaySettings) -> KongGatewayRegistrator:
    """Build the client that registers the service with the gateway.

    Raises:
        SettingsError: If API_GATEWAY_CA does not name a file.
    """
    headers = {}
    if settings.token:
        headers["Kong-Admin-Token"] = settings.token.get_secret_value()
    if settings.key:
        headers[settings.key_header] = settings.key.get_secret_value()
    if settings.ca and not Path(settings.ca).is_file():
        raise SettingsError(f"API_GATEWAY_CA: {settings.ca} is not a file")
    access = Access(headers, settings.workspace, settings.ca)
    return KongGatewayRegistrator(settings.url, settings.timeout_s, access)


def check_gateway_settings(settings: Settings) -> None:
    """Check the settings of the gateway and of Consul, and the files that they name. Nothing is sent.

    Raises:
        SettingsError: If one cannot be used.
    """
    build_registrator(settings.gateway)
    build_definition(settings)
    _build_agent(settings)


def build_definition(settings: Settings) -> Definition:
    """Build the declaration of this service on the gateway.

    Raises:
        SettingsError: If the plugins file or a key cannot be used.
    """
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


def request_id_header(settings: Settings) -> str | None:
    """Return the header in which the gateway is declared to send the ids of requests; None if it is not declared.

    An unusable file is only logged: the start has already checked it, and a replacement worker must not fail.
    """
    if settings.gateway.plugins is None:
        return None
    try:
        return correlation_header(read_plugins(Path(settings.gateway.plugins)))
    except RegistrationException as err:
        log.warning("GATEWAY_PLUGINS: %s", err)
        return None


def build_identity(settings: Settings, instance: str = "") -> Identity:
    """Build what proves, and verifies, that an answer comes from this service.

    Args:
        settings: The name of the service and its key directory.
        instance: The id of this instance; empty for a process that only verifies.

    Raises:
        SettingsError: If the key directory cannot be used.
    """
    return Identity(settings.service.name, SharedSecrets(open_keys(settings.tokens, strict=False)), instance)


def build_instance(settings: Settings, registrator: KongGatewayRegistrator, instance: str) -> Instance:
    """Build the membership of this process in the platform.

    Args:
        settings: The settings of the service.
        registrator: The client of the gateway.
        instance: The id of this instance.

    Raises:
        SettingsError: If a setting is wrong, or if this machine's address cannot be determined.
    """
    from service.observability import metrics  # only serving needs metrics; other commands start faster without

    consul = _build_agent(settings)
    identity = build_identity(settings, instance)
    gateway = settings.gateway
    return Instance(
        registrator,
        lambda: build_definition(settings),
        (settings.service.instance_host or _address_facing(gateway.url)).strip("[]"),
        settings.service.port or settings.server.port,
        ready=_readiness_probe(f"{local_url(settings.server, settings.tls)}/ready"),
        timing=Timing(gateway.interval_s, gateway.target_timeout_s, gateway.timeout_s),
        identity=identity,
        consul=consul,
        on_state=metrics.gateway_registered.set,
        check_route=_build_route_check(settings, consul, identity),
    )


def _build_route_check(settings: Settings, consul: ConsulAgent | None, identity: Identity) -> Callable[[], str] | None:
    base_url = _url_on_proxy(settings)
    if base_url is None:
        return None
    check = partial(check_routed, base_url, identity, settings.gateway.ca)
    if settings.service.discovery == "upstream":
        return check
    # The gateway resolves a name in order to find the service.
    name, host = settings.service.name, settings.service.host
    is_known = NameWatch(host) if consul is None else partial(consul.has_healthy, name)
    return RouteCheck(host, is_known, check)


def _build_agent(settings: Settings) -> ConsulAgent | None:
    if settings.consul.agent_url is None:
        return None
    if urlsplit(settings.consul.agent_url).path:
        raise SettingsError("CONSUL_AGENT_URL: expected a URL without a path, such as http://127.0.0.1:8500")
    token = settings.consul.token.get_secret_value() if settings.consul.token else None
    return ConsulAgent(settings.consul.agent_url, token)


def check_proxy(settings: Settings, timeout_s: float) -> str | None:
    """Wait until calls through the gateway's proxy arrive at this service.

    No request is sent while Consul, if this service registers there, has no healthy instance; see `RouteCheck`.

    Args:
        settings: Names the proxy in GATEWAY_PROXY_URL.
        timeout_s: Seconds to wait.

    Returns:
        What was found, or None if GATEWAY_PROXY_URL is not set.

    Raises:
        SettingsError: If the time is over, or if no request may be sent.
    """
    base_url = _url_on_proxy(settings)
    if base_url is None:
        return None
    try:
        consul = _build_agent(settings)
        by_name = settings.service.discovery != "upstream"
        if consul is not None and by_name and not consul.has_healthy(settings.service.name):
            raise RegistrationException(
                f"{without_password(base_url)} was not requested: Consul has no healthy instance of"
                f" {settings.service.name}, and the gateway would remember that"
            )
        check = partial(check_routed, base_url, build_identity(settings), settings.gateway.ca)
        return wait_until_routed(check, timeout_s)
    except (RegistrationException, ConsulUnavailable) as err:
        raise SettingsError(f"GATEWAY_PROXY_URL: {err}") from err


def _url_on_proxy(settings: Settings) -> str | None:
    proxy_url = settings.gateway.proxy_url
    return None if proxy_url is None else f"{proxy_url}{settings.service.path.rstrip('/')}"


def _readiness_probe(url: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        try:
            # The service's own certificate need not name the address that this machine uses. A new session for each
            # request reaches any worker, not only the one that answered before.
            with (
                direct_session(verify=False) as session,
                session.get(url, timeout=READY_TIMEOUT_S, allow_redirects=False, stream=True) as reply,
            ):
                return reply.status_code == 200
        except requests.RequestException:
            return False

    return is_ready


def _address_facing(url: str) -> str:
    """Return the local address that connections to a server use. Sends nothing."""
    parts = urlsplit(url)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as err:
        raise SettingsError(f"INSTANCE_HOST is not set and cannot be determined: {err.strerror}") from err


def _public_keys(settings: Settings) -> dict[str, tuple[str, str]]:
    return {
        key.name: (key.algorithms[0], key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
        for key in open_issuer(settings.tokens, settings.service.name).keys.public()
    }
