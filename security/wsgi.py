"""The chain around any WSGI application (PEP 3333), without a framework."""

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from security.chain import SecurityChain
from security.errors import SecurityException
from security.exchange import Request, Response
from security.problem import refusal

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class _Headers:
    """An environment's headers; their names ignore case."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def get(self, name: str, default: str | None = None) -> str | None:
        """A header's value."""
        key = name.upper().replace("-", "_")
        value: str | None = self._environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
        return default if value is None else value


class _WsgiRequest:
    """An environment in the shape that Request wraps."""

    def __init__(self, environ: Environ) -> None:
        self.headers = _Headers(environ)
        self.method = environ.get("REQUEST_METHOD")
        # WSGI carries bytes as latin-1; the path itself is UTF-8
        self.path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        self.scheme = environ.get("wsgi.url_scheme")
        self.host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME")
        self.query_string = environ.get("QUERY_STRING", "").encode("latin-1")


class SecurityMiddleware:
    """Asks the chain about every request, and lets `application` answer those that it admits.

    While the application answers, and until its answer is sent or given up, the identity is in the chain's context.
    """

    def __init__(self, application: Application, chain: SecurityChain) -> None:
        self._application = application
        self._chain = chain

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        response = Response()
        try:
            self._chain.execute(Request(_WsgiRequest(environ)), response)
        except SecurityException as err:
            return _reply(start_response, *refusal(err))
        if response.modified:
            self._clear()
            return _reply(start_response, response.status_code, response.headers, response.get_response_body())

        def start_with_headers(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *response.headers.items()], *exc_info)

        try:
            answer = self._application(environ, start_with_headers)
        except BaseException:
            self._clear()
            raise
        return _Answer(answer, self._clear)

    def _clear(self) -> None:
        if self._chain.security_context is not None:
            self._chain.security_context.clear_auth()


class _Answer:
    """An application's answer; `close`, which every WSGI server calls, forgets the identity."""

    def __init__(self, parts: Iterable[bytes], forget: Callable[[], None]) -> None:
        self._parts = parts
        self._forget = forget

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        """Close the application's own answer as well."""
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            self._forget()


def _reply(start_response: StartResponse, status: int, headers: dict[str, str], body: str) -> list[bytes]:
    content = body.encode()
    named = [*headers.items(), ("Content-Length", str(len(content)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", named)
    return [content]
