"""The chain around any WSGI application (PEP 3333), without a framework."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from security.auth import Auth
from security.chain import Provider, SecurityChain, scopes_provider
from security.context import SecurityContext
from security.errors import SecurityException
from security.messages import Request, Response
from security.problem import phrase, refusal

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
        # WSGI carries bytes as latin-1; the path itself is UTF-8. Frameworks take several first slashes for one.
        self.path = "/" + environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace").lstrip("/")
        self.scheme = environ.get("wsgi.url_scheme")
        self.host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME")
        self.query_string = environ.get("QUERY_STRING", "").encode("latin-1")


class SecurityMiddleware:
    """Asks the chain about every request, and lets `application` answer those that it admits.

    While the application works on its answer, the identity is in the chain's context.
    """

    def __init__(self, application: Application, chain: SecurityChain, scopes: Iterable[str] = ()) -> None:
        """scopes: what the identity must have been granted."""
        self._application = application
        self._chain = chain
        needed = tuple(scopes)
        self._check_scopes = scopes_provider(*needed) if needed else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        response = Response()
        try:
            request = Request(_WsgiRequest(environ))
            self._chain.execute(request, response)
            if self._check_scopes is not None:
                self._hold_to_scopes(self._check_scopes, request, response)
        except UnicodeError:
            return _reply(start_response, *refusal(SecurityException("the path is not text", 400)))
        except SecurityException as err:
            status, headers, body = refusal(err)
            return _reply(start_response, status, {**response.headers, **headers}, body)
        context = self._chain.security_context
        assert context is not None
        if response.modified:
            context.clear_auth()
            return _reply(start_response, response.status_code, response.headers, response.get_response_body())

        def start_with_headers(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *response.headers.items()], *exc_info)

        auth = context.get_auth()
        try:
            answer = self._application(environ, start_with_headers)
        finally:
            context.clear_auth()
        return answer if type(answer) is list else _Answer(answer, context, auth)  # a list has been made already

    def _hold_to_scopes(self, check: Provider, request: Request, response: Response) -> None:
        context = self._chain.security_context
        assert context is not None  # or the chain had refused
        try:
            check(context, request, response)
        except SecurityException:
            context.clear_auth()
            raise


class _Answer:
    """An application's answer. The identity is in the context while a part of it is made, and at no time between:
    a server may ask for parts of several answers in turn."""

    def __init__(self, parts: Iterable[bytes], context: SecurityContext, auth: Auth | None) -> None:
        self._parts = parts
        self._context = context
        self._auth = auth

    def __iter__(self) -> Iterator[bytes]:
        with self._identity():
            parts = iter(self._parts)
        while True:
            with self._identity():
                part = next(parts, None)
            if part is None:
                return
            yield part

    def close(self) -> None:
        """Close the application's own answer as well."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            with self._identity():
                close()

    @contextmanager
    def _identity(self) -> Iterator[None]:
        self._context.set_auth(self._auth)
        try:
            yield
        finally:
            self._context.clear_auth()


def _reply(start_response: StartResponse, status: int, headers: dict[str, str], body: str) -> list[bytes]:
    content = body.encode()
    named = [*headers.items(), ("Content-Length", str(len(content)))]
    start_response(f"{status} {phrase(status)}", named)
    return [content]
