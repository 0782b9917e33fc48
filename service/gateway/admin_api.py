"""A small client of Kong's Admin API: one request at a time, within bounds, and again while that may help."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from security.json_client import BodyTooLarge, bounded_body
from service.gateway.registrator import RegistrationException
from service.net.urls import without_password

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 10
MAX_BYTES = 1_000_000
MAX_PAGES = 100
MAX_MESSAGE_CHARS = 300  # characters of what a gateway says of an error
# A gateway that is starting, busy, or has lost its database for a moment; anything else will not get better by itself.
RETRYABLE = frozenset({429, 500, 502, 503, 504})
# What asking for an entity, or making or removing one, may rightly be told.
ANSWERS = frozenset({200, 201, 204, 404, 409})

Entity = dict[str, Any]


class _TryAgain(RegistrationException):
    """A failure that may pass."""


@dataclass(frozen=True)
class Access:
    """How an Admin API lets this service in. headers: such as Kong-Admin-Token or an API key. workspace: of Kong
    Enterprise. ca_file: certificates that its own is checked against, where the system's are not enough.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    workspace: str | None = None
    ca_file: str | None = None


class AdminApi:
    """Asks the Admin API at `url`, trying again for at most `patience_s` seconds over all its requests together."""

    def __init__(self, url: str, timeout_s: float, access: Access | None = None) -> None:
        access = access or Access()
        self.shown_url = without_password(url)
        self._url = url
        self._workspace = f"/{access.workspace}" if access.workspace else ""
        self._deadline = time.monotonic() + timeout_s
        self._session = requests.Session()
        self._session.headers.update(access.headers)
        # The gateway is a neighbour: no proxy stands between, and what .netrc or the environment have is for others.
        self._session.trust_env = False
        self._session.verify = access.ca_file or True

    def __enter__(self) -> "AdminApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def node(self) -> Entity:
        """What the gateway says of itself. Raises: RegistrationException."""
        return self._ask("GET", "/", None, workspace="")[1] or {}

    def get(self, path: str) -> Entity | None:
        """The entity at `path`, or None when there is none. Raises: RegistrationException."""
        status, found = self._ask("GET", path, None)
        return None if status == 404 else found

    def list(self, path: str) -> Iterator[Entity]:
        """Every entity of the collection at `path`, page by page. Raises: RegistrationException."""
        following: str | None = path
        for _ in range(MAX_PAGES):
            if following is None:
                return
            page = self.get(following) or {}
            data = page.get("data")
            yield from (entity for entity in (data if isinstance(data, list) else []) if isinstance(entity, dict))
            following = page.get("next") if isinstance(page.get("next"), str) else None
        raise RegistrationException(f"GET {self.shown_url}{path} has no end; is this Kong's Admin API?")

    def write(self, method: str, path: str, entity: Entity | None = None) -> tuple[int, Entity | None]:
        """Make, change or remove what is at `path`. Returns: 200, 201, 204, 404 or 409, and the entity.

        Raises: RegistrationException for any other answer.
        """
        return self._ask(method, path, entity)

    def _database_is_down(self) -> bool:
        try:
            _, status = self._ask_once("GET", "/status", None, "")
        except RegistrationException:
            return False
        database = (status or {}).get("database")
        return isinstance(database, dict) and database.get("reachable") is False

    def _ask(
        self, method: str, path: str, entity: Entity | None, workspace: str | None = None
    ) -> tuple[int, Entity | None]:
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=self._time_is_up,
            wait=wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.5),
            sleep=lambda seconds: time.sleep(max(0.0, min(seconds, self._deadline - time.monotonic()))),
            before_sleep=self._say_why,
            reraise=True,
        )
        try:
            return retrying(self._ask_once, method, path, entity, self._workspace if workspace is None else workspace)
        except _TryAgain as err:
            why = " (its database is out of reach)" if self._database_is_down() else ""
            raise RegistrationException(f"{err}{why}") from err.__cause__

    def _say_why(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            failure = state.outcome.exception() if state.outcome is not None else None
            log.warning("%s; trying again for up to %.0f s", failure, max(0.0, self._deadline - time.monotonic()))

    def _time_is_up(self, state: RetryCallState) -> bool:
        return time.monotonic() >= self._deadline

    def _ask_once(self, method: str, path: str, entity: Entity | None, workspace: str) -> tuple[int, Entity | None]:
        where = f"{method} {self.shown_url}{workspace}{path}"
        remaining_s = max(0.5, self._deadline - time.monotonic())
        try:
            with self._session.request(
                method,
                self._url + workspace + path,
                json=entity,
                timeout=(min(CONNECT_TIMEOUT_S, remaining_s), min(READ_TIMEOUT_S, remaining_s)),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                content = bounded_body(response, time.monotonic() + remaining_s, MAX_BYTES)
        except BodyTooLarge as err:
            raise RegistrationException(f"{where} answered {err}; is this Kong's Admin API?") from err
        except requests.exceptions.SSLError as err:
            raise RegistrationException(
                f"{where}: its certificate is not trusted or no TLS is spoken there ({_reason(err)})"
            ) from err
        except (requests.ConnectionError, requests.Timeout, ProtocolError, ReadTimeoutError) as err:
            raise _TryAgain(f"{where}: {_reason(err)}") from err
        except (requests.RequestException, HTTPError, UnicodeError, OSError) as err:
            raise RegistrationException(f"{where}: {_reason(err)}") from err
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if status not in ANSWERS:
            failure = _TryAgain if status in RETRYABLE else RegistrationException
            raise failure(f"{where} answered {status}: {_said(body) or 'no message'}")
        if status == 204:
            return status, None
        if not isinstance(body, dict):
            # also a 404: some other server's page must not pass for an entity that is not there
            raise RegistrationException(f"{where} answered {status} and no JSON object; is this Kong's Admin API?")
        return status, body


def _said(body: object) -> str | None:
    """The gateway's own words, in a line. Before 1.0 they are the values of the wrong fields."""
    if not isinstance(body, dict):
        return None
    told = [body["message"]] if isinstance(body.get("message"), str) else body.values()
    return " ".join("; ".join(map(str, told)).split())[:MAX_MESSAGE_CHARS] or None


def _reason(err: Exception) -> str:
    """ "connection refused" rather than four wrapped exceptions."""
    if isinstance(err, requests.Timeout | ReadTimeoutError):
        return "timed out"
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__ or _first_exception(cause)
    return (
        "cannot be reached" if isinstance(err, requests.ConnectionError) else f"cannot be asked ({type(err).__name__})"
    )


def _first_exception(err: BaseException) -> BaseException | None:
    return next((argument for argument in err.args if isinstance(argument, BaseException)), None)
