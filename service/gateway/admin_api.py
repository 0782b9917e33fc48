"""A small client of Kong's Admin API."""

import json
import logging
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from service.gateway.registrator import RegistrationException

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 10
MAX_BYTES = 1_000_000
# A gateway that is starting, busy, or has lost its database for a moment; anything else will not get better by itself.
RETRYABLE = frozenset({429, 500, 502, 503, 504})


class _TryAgain(RegistrationException):
    """A failure that may pass."""


class AdminApi:
    """Asks the Admin API at `url`, trying again for at most `patience_s` seconds over all its requests together."""

    def __init__(self, url: str, patience_s: float) -> None:
        self.url = url
        self._shown_url = without_password(url)
        self._deadline = time.monotonic() + patience_s
        self._session = requests.Session()

    def get(self, path: str) -> dict[str, Any] | None:
        """The entity at `path`, or None when there is none. Raises: RegistrationException."""
        return self._ask("GET", path, None)

    def put(self, path: str, entity: dict[str, Any]) -> dict[str, Any]:
        """Create or replace the entity at `path` and give it back. Raises: RegistrationException."""
        found = self._ask("PUT", path, entity)
        if found is None:
            raise RegistrationException(f"PUT {self._shown_url}{path} answered 404")
        return found

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _ask(self, method: str, path: str, entity: dict[str, Any] | None) -> dict[str, Any] | None:
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=self._out_of_patience,
            wait=wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.5),
            sleep=lambda seconds: time.sleep(max(0.0, min(seconds, self._deadline - time.monotonic()))),
            before_sleep=self._say_why,
            reraise=True,
        )
        try:
            return retrying(self._ask_once, method, path, entity)
        except _TryAgain as err:
            raise RegistrationException(str(err)) from err.__cause__

    def _say_why(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            failure = state.outcome.exception() if state.outcome is not None else None
            log.warning("%s; trying again for up to %.0f s", failure, max(0.0, self._deadline - time.monotonic()))

    def _out_of_patience(self, state: RetryCallState) -> bool:
        return time.monotonic() >= self._deadline

    def _ask_once(self, method: str, path: str, entity: dict[str, Any] | None) -> dict[str, Any] | None:
        where = f"{method} {self._shown_url}{path}"
        remaining_s = max(0.5, self._deadline - time.monotonic())
        try:
            with self._session.request(
                method,
                self.url + path,
                json=entity,
                timeout=(min(CONNECT_TIMEOUT_S, remaining_s), min(READ_TIMEOUT_S, remaining_s)),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                content = _content(response, where, time.monotonic() + remaining_s)
        except (requests.ConnectionError, requests.Timeout, ProtocolError, ReadTimeoutError) as err:
            raise _TryAgain(f"{where}: {_reason(err)}") from err
        except (requests.RequestException, HTTPError, UnicodeError) as err:
            raise RegistrationException(f"{where}: {_reason(err)}") from err
        if status == 404:
            return None
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if status != 200:
            said = body.get("message") if isinstance(body, dict) else None
            failure = _TryAgain if status in RETRYABLE else RegistrationException
            raise failure(f"{where} answered {status}: {said or 'no message'}")
        if not isinstance(body, dict):
            raise RegistrationException(f"{where} answered no JSON object; is this Kong's Admin API?")
        return body


def _content(response: requests.Response, where: str, until: float) -> bytes:
    """The body, within a time and a size: the library's own timeout begins anew with every byte."""
    content = b""
    while piece := response.raw.read1(65536, decode_content=True):
        content += piece
        if len(content) > MAX_BYTES:
            raise RegistrationException(f"{where} answered more than {MAX_BYTES} bytes; is this Kong's Admin API?")
        if time.monotonic() > until:
            raise _TryAgain(f"{where}: took too long to answer")
    return content


def without_password(url: str) -> str:
    """A URL as it may be shown: without what stands before an @."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


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
