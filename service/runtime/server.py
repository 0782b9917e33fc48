"""The running service: a parent process that supervises, and workers that answer requests."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels

from service.errors import SettingsError
from service.gateway.instance import Instance
from service.observability.tracing import report_tracing
from service.plural import counted
from service.postgres.connect import Role
from service.runtime.bootstrap import ATTEMPTS_FILE
from service.runtime.graceful_shutdown import GracefulShutdown
from service.runtime.listen_address import host_and_port, scheme
from service.runtime.open_files import allow_connections
from service.runtime.supervisor import Supervisor
from service.runtime.tls import CertificateReloader
from service.runtime.worker import load_worker
from service.runtime.worker_stop import STOP_TIMEOUT_S
from service.settings import ServerSettings, Settings
from service.tokens.throttle import AttemptThrottle
from service.vault.shared_credentials import SharedCredentials

log = logging.getLogger(__name__)

BUFFER_BYTES = 65_536  # of each connection: the longest head of a request, and what a connection costs at most

KILL_TIMEOUT_S = STOP_TIMEOUT_S + 5  # a worker that has not exited by then is killed


def build_server(settings: ServerSettings, certificate: Path | None = None) -> Any:
    """Build the server that `serve` runs, without an application.

    Args:
        settings: The address, the number of workers, and what protects them.
        certificate: PEM file with the certificate and its private key, for HTTPS.
    """
    connections = allow_connections(settings.max_connections)
    return Supervisor(
        "loaner",
        address=settings.listen_host,
        port=settings.port,
        interface=Interfaces.ASGINL,
        loop=Loops.uvloop,
        workers=settings.workers,
        backlog=connections,
        backpressure=connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.header_timeout_s * 1000), keep_alive=True, max_buffer_size=BUFFER_BYTES
        ),
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig={"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}},
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_TIMEOUT_S,
        ssl_cert=certificate,
        ssl_key=certificate,
        ssl_protocol_min=SSLProtocols.tls12,
    )


def _set_certificate(server: Any, certificate: Path | None) -> None:
    """Set the certificate of workers that start from now on."""
    server.build_ssl_context(certificate, certificate, None, SSLProtocols.tls12, None, [], False)


def serve(
    settings: Settings,
    run_directory: Path,
    *,
    instance: Instance | None = None,
    credentials: Mapping[Role, SharedCredentials] | None = None,
    stop_on_hangup: bool = False,
) -> None:
    """Serve requests until SIGINT or SIGTERM. Workers that die are replaced.

    Args:
        settings: The settings of the service.
        run_directory: A directory that this process shares with its workers.
        instance: The membership in a platform: joins when the service is ready, and leaves before it stops.
        credentials: Credentials from Vault, by role. Other roles use the logins in the settings.
        stop_on_hangup: Whether SIGHUP, which a closed terminal sends, stops the service. Otherwise it restarts the
            workers one by one.

    Raises:
        SettingsError: If the certificate cannot be used, or if calls through the gateway do not arrive here.
        SystemExit: If workers keep dying.
    """
    certificate = CertificateReloader(settings.tls, run_directory)
    server = build_server(settings.server, certificate.current())
    AttemptThrottle(run_directory / ATTEMPTS_FILE).close()  # creates the database before several workers open it
    shutdown = GracefulShutdown(server, run_directory, instance, settings.server.drain_s)
    server.on_startup(lambda: shutdown.install_handlers(stop_on_hangup))
    server.on_startup(lambda: certificate.watch(shutdown.reload))
    server.on_reload(lambda: _set_certificate(server, certificate.current()))
    if instance is not None:
        instance.start(shutdown.fail)
    report_tracing()
    log.info(
        "serving on %s://%s with %s",
        scheme(settings.tls),
        host_and_port(settings.server),
        counted(settings.server.workers, "worker"),
    )
    load = partial(load_worker, settings, run_directory, credentials or {})
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit:
        if not shutdown.has_begun:
            raise
        log.warning("workers died during the shutdown")
    finally:
        shutdown.deregister()
    if shutdown.failure is not None:
        raise SettingsError(f"GATEWAY_PROXY_URL: {shutdown.failure}")
    log.info("stopped")
