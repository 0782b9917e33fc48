"""Asking a running service for a token, and using it, as a client does."""

from typing import Any

import requests

from service.errors import LoanerError, SettingsError
from service.net.urls import without_password
from service.settings import TokenSettings

TIMEOUT_S = 10


class ProbeFailed(LoanerError):
    """A running service does not do what a client needs. The message names the URL and holds no secret."""


def probe(url: str, settings: TokenSettings, ca: str | None = None) -> dict[str, Any]:
    """Ask for a token as CLIENT_ID with SECRET, and read /status with it.

    url: where the service is, also behind a gateway. ca: a file of certificates to check its own against.

    Returns: what /status tells. Raises: SettingsError without a secret; ProbeFailed.
    """
    if settings.client_secret is None:
        raise SettingsError(f"SECRET is not set: the secret of the client {settings.client_id} (CLIENT_ID)")
    try:
        shown = without_password(url.rstrip("/"))
    except ValueError as err:
        raise ProbeFailed("URL: expected one such as http://loaner:5555") from err
    form = {
        "grant_type": "client_credentials",
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.get_secret_value(),
    }
    with requests.Session() as session:
        session.trust_env = False  # no proxy and no .netrc stands between
        session.verify = ca or True
        token = _asked(session, "POST", f"{shown}/token", data=form).get("access_token")
        status = _asked(session, "GET", f"{shown}/status", headers={"Authorization": f"Bearer {token}"})
    if status.get("database") != "ok":
        raise ProbeFailed(f"{shown} has handed out a token; its database: {status.get('database')}")
    return status


def _asked(session: requests.Session, method: str, url: str, **options: Any) -> dict[str, Any]:
    where = f"{method} {url}"
    try:
        with session.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, **options) as reply:
            members = reply.json()
    except requests.JSONDecodeError as err:
        raise ProbeFailed(f"{where}: answered {reply.status_code}, and no JSON") from err
    except requests.exceptions.SSLError as err:
        raise ProbeFailed(f"{where}: its certificate is not trusted (--ca)") from err
    except (requests.RequestException, OSError) as err:
        raise ProbeFailed(f"{where}: cannot be asked: {type(err).__name__}") from err
    if not isinstance(members, dict):
        raise ProbeFailed(f"{where}: answered {reply.status_code}, and no JSON object")
    if reply.status_code != 200:
        raise ProbeFailed(f"{where}: {reply.status_code} {members.get('message', 'no reason given')}")
    return members
