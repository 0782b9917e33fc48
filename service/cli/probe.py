"""The command that checks a running service the way a client uses it."""

from typing import Any

import click
import requests

from service.errors import LoanerError, SettingsError
from service.net.session import direct_session
from service.net.urls import without_password
from service.settings import TokenSettings

TIMEOUT_S = 10


class ProbeFailed(LoanerError):
    """A running service does not respond as a client expects. The message names the URL, and contains no secret."""


@click.command("probe")
@click.argument("url")
@click.option(
    "--ca",
    "ca_file",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM file of CA certificates that the service's certificate is verified against.",
)
@click.pass_context
def probe_command(ctx: click.Context, url: str, ca_file: str | None) -> None:
    """Check that a running service issues valid tokens.

    Requests a token from the service at URL as CLIENT_ID with SECRET, and reads /status with it. `helm test` runs this
    command.
    """
    settings, _ = ctx.obj
    status = probe(url, settings.tokens, ca_file)
    click.echo(
        f"{settings.tokens.client_id} got a token from {url} and used it: loaner {status['version']}, database ok"
    )


def probe(url: str, settings: TokenSettings, ca_file: str | None = None) -> dict[str, Any]:
    """Request a token as CLIENT_ID with SECRET, and read /status with it.

    Args:
        url: URL of the service, which may be behind a gateway.
        settings: The client and its secret.
        ca_file: PEM file with the authorities that the service's certificate is verified against.

    Returns:
        The body of /status.

    Raises:
        SettingsError: If SECRET is not set.
        ProbeFailed: If a request fails, or if the service cannot use its database.
    """
    if settings.client_secret is None:
        raise SettingsError(f"SECRET is not set: the secret of the client {settings.client_id} (CLIENT_ID)")
    try:
        base_url = without_password(url.rstrip("/"))
    except ValueError as err:
        raise ProbeFailed("URL: expected a URL such as http://loaner:5555") from err
    form = {
        "grant_type": "client_credentials",
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.get_secret_value(),
    }
    with direct_session(ca_file) as session:
        token = _request(session, "POST", f"{base_url}/token", data=form).get("access_token")
        status = _request(session, "GET", f"{base_url}/status", headers={"Authorization": f"Bearer {token}"})
    if status.get("database") != "ok":
        raise ProbeFailed(f"{base_url} issued a token, but cannot use its database: {status.get('database')}")
    return status


def _request(session: requests.Session, method: str, url: str, **options: Any) -> dict[str, Any]:
    where = f"{method} {url}"
    try:
        with session.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **options) as reply:
            members = reply.json()
    except requests.JSONDecodeError as err:
        raise ProbeFailed(f"{where}: status {reply.status_code}, and the body is not JSON") from err
    except requests.exceptions.SSLError as err:
        raise ProbeFailed(f"{where}: its certificate is not trusted (--ca)") from err
    except (requests.RequestException, OSError) as err:
        raise ProbeFailed(f"{where}: request failed: {type(err).__name__}") from err
    if not isinstance(members, dict):
        raise ProbeFailed(f"{where}: status {reply.status_code}, and the body is not a JSON object")
    if reply.status_code != 200:
        raise ProbeFailed(f"{where}: {reply.status_code} {members.get('message', 'no reason given')}")
    return members
