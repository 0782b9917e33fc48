"""A client of Kong's Admin API, with bounded retries, response times and response sizes."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from security.json_client import BodyTooLarge, bounded_body
from service.gateway.masking import without_secrets_of
from service.gateway.registrator import RegistrationException
from service.net.session import direct_session
from service.net.tls_mismatch import may_be_for_lack_of_tls, says_that_tls_is_needed, shows_that_tls_is_missing
from service.net.urls import without_password

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 10
MAX_BYTES = 1_000_000
MAX_PAGES = 100
MAX_MESSAGE_CHARS = 300
# A gateway that is starting or overloaded, or that has lost its database, returns these. Other errors are permanent.
RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
# Statuses that callers handle: success, no such entity, and a conflict with another instance or owner.
EXPECTED_STATUSES = frozenset({200, 201, 204, 404, 409})

Entity = dict[str, Any]


class _RetryableFailure(RegistrationException):
    """A failure that may be temporary."""


@dataclass(frozen=True)
class Access:
    """Credentials and trust for an Admin API.

    Attributes:
        headers: Headers of each request, such as `Kong-Admin-Token` or an API key.
        workspace: Workspace of Kong Enterprise.
        ca_file: PEM file with the authorities that the Admin API's certificate is verified against.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    workspace: str | None = None
    ca_file: str | None = None


class AdminApi:
    """Sends requests to an Admin API, and retries failures that may be temporary.

    Args:
        url: URL of the Admin API.
        timeout_s: Seconds for all requests and retries of this object together.
        access: Credentials and trust.
    """

    def __init__(self, url: str, timeout_s: float, access: Access | None = None) -> None:
        access = access or Access()
        self.redacted_url = without_password(url)
        self._url = url
        self._workspace = f"/{access.workspace}" if access.workspace else ""
        self._deadline = time.monotonic() + timeout_s
        self._session = direct_session(access.ca_file)
        self._session.headers.update(access.headers)

    def __enter__(self) -> "AdminApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def node(self) -> Entity:
        """Return the gateway's version and configuration.

        Raises:
            RegistrationException: If the request fails.
        """
        return self._request("GET", "/", None, workspace="")[1] or {}

    def get(self, path: str) -> Entity | None:
        """Return the entity at a path, or None if it does not exist.

        Raises:
            RegistrationException: If the request fails.
        """
        status, found = self._request("GET", path, None)
        return None if status == 404 else found

    def list(self, path: str) -> Iterator[Entity]:
        """Yield all entities of a collection, page by page.

        Raises:
            RegistrationException: If a request fails, or if the collection has more than MAX_PAGES pages.
        """
        next_path: str | None = path
        for _ in range(MAX_PAGES):
            if next_path is None:
                return
            page = self.get(next_path) or {}
            data = page.get("data")
            yield from (entity for entity in (data if isinstance(data, list) else []) if isinstance(entity, dict))
            next_path = _next_page(path, page)
        raise RegistrationException(
            f"GET {self.redacted_url}{path} returned more than {MAX_PAGES} pages; is this Kong's Admin API?"
        )

    def write(self, method: str, path: str, entity: Entity | None = None) -> tuple[int, Entity | None]:
        """Create, change or remove the entity at a path.

        Returns:
            The status, one of EXPECTED_STATUSES, and the JSON object of the response.

        Raises:
            RegistrationException: If the request fails, or for any other status.
        """
        return self._request(method, path, entity)

    def _is_database_down(self) -> bool:
        try:
            _, status = self._request_once("GET", "/status", None, "")
        except RegistrationException:
            return False
        database = (status or {}).get("database")
        return isinstance(database, dict) and database.get("reachable") is False

    def _request(
        self, method: str, path: str, entity: Entity | None, workspace: str | None = None
    ) -> tuple[int, Entity | None]:
        retrying = Retrying(
            retry=retry_if_exception_type(_RetryableFailure),
            stop=self._is_deadline_over,
            wait=wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.5),
            sleep=lambda seconds: time.sleep(max(0.0, min(seconds, self._deadline - time.monotonic()))),
            before_sleep=self._log_first_failure,
            reraise=True,
        )
        try:
            return retrying(
                self._request_once, method, path, entity, self._workspace if workspace is None else workspace
            )
        except _RetryableFailure as err:
            cause = " (the gateway cannot reach its database)" if self._is_database_down() else ""
            raise RegistrationException(f"{err}{cause}", err.status) from err.__cause__

    def _log_first_failure(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            failure = state.outcome.exception() if state.outcome is not None else None
            log.warning("%s; retrying for up to %.0f s", failure, max(0.0, self._deadline - time.monotonic()))

    def _is_deadline_over(self, state: RetryCallState) -> bool:
        return time.monotonic() >= self._deadline

    def _request_once(self, method: str, path: str, entity: Entity | None, workspace: str) -> tuple[int, Entity | None]:
        where = f"{method} {self.redacted_url}{workspace}{path}"
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
            if shows_that_tls_is_missing(err):
                raise RegistrationException(
                    f"{where}: the port does not use TLS; the URL must begin with http://"
                ) from err
            raise RegistrationException(
                f"{where}: the certificate is not trusted ({_reason(err)}); API_GATEWAY_CA names a file of trusted"
                " authorities"
            ) from err
        except (requests.ConnectionError, requests.Timeout, ProtocolError, ReadTimeoutError) as err:
            is_plain = self._url.startswith("http:") and may_be_for_lack_of_tls(err)
            hint = "; if the port uses TLS, the URL must begin with https://" if is_plain else ""
            raise _RetryableFailure(f"{where}: {_reason(err)}{hint}") from err
        except (requests.RequestException, HTTPError, UnicodeError, OSError) as err:
            raise RegistrationException(f"{where}: {_reason(err)}") from err
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if status == 400 and says_that_tls_is_needed(content.decode(errors="replace")):
            raise RegistrationException(f"{where}: the port uses TLS; the URL must begin with https://")
        if status >= 400:
            body = without_secrets_of(entity, body)
        if status not in EXPECTED_STATUSES:
            failure = _RetryableFailure if status in RETRYABLE_STATUSES else RegistrationException
            raise failure(f"{where} answered {status}: {_error_message(body) or 'no message'}", status)
        if status == 204:
            return status, None
        if not isinstance(body, dict):
            # This includes 404: the error page of another server must not pass for an entity that does not exist.
            raise RegistrationException(f"{where} answered {status} without a JSON object; is this Kong's Admin API?")
        return status, body


def _next_page(path: str, page: Entity) -> str | None:
    """Return the path of the next page. Before Kong 1.0 it is a URL, whose host need not be the one used here."""
    following = page.get("next")
    if not isinstance(following, str):
        return None
    if following.startswith("/"):
        return following
    return f"{path}{'&' if '?' in path else '?'}offset={quote(str(page.get('offset')), safe='')}"


def _error_message(body: object) -> str | None:
    """Return the message of an error response in one line. Before Kong 1.0 it is the values of the invalid fields."""
    if not isinstance(body, dict):
        return None
    messages = [body["message"]] if isinstance(body.get("message"), str) else body.values()
    return " ".join("; ".join(map(str, messages)).split())[:MAX_MESSAGE_CHARS] or None


def _reason(err: Exception) -> str:
    """Return the root cause in a few words, such as "connection refused"."""
    if isinstance(err, requests.Timeout | ReadTimeoutError):
        return "timed out"
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        reason = getattr(cause, "reason", None)  # text in some exceptions
        known = reason if isinstance(reason, BaseException) else None
        cause = known or cause.__cause__ or cause.__context__ or _first_exception(cause)
    return (
        "cannot be reached" if isinstance(err, requests.ConnectionError) else f"request failed ({type(err).__name__})"
    )


def _first_exception(err: BaseException) -> BaseException | None:
    return next((argument for argument in err.args if isinstance(argument, BaseException)), None)
