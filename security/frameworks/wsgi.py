"""The security chain as WSGI middleware (PEP 3333), independent of any framework."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

from security.auth import Auth
from security.chain import Provider, SecurityChain, scopes_provider
from security.context import SecurityContext
from security.errors import SecurityException
from security.messages import Request, Response
from security.names import parse_scopes
from security.problem import reason_phrase, to_response

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class _Headers:
    """The headers of a WSGI environment. Names are case-insensitive."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a header."""
        key = name.upper().replace("-", "_")
        value: str | None = self._environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
        return default if value is None else value


class _WsgiRequest:
    """A WSGI environment with the attributes that `Request` reads."""

    def __init__(self, environ: Environ) -> None:
        self.headers = _Headers(environ)
        self.method = environ.get("REQUEST_METHOD")
        # WSGI strings are bytes decoded as Latin-1; the path is UTF-8. Frameworks merge leading slashes, so policies
        # must see a single one.
        self.path = "/" + environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace").lstrip("/")
        self.scheme = environ.get("wsgi.url_scheme")
        self.host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME")
        self.query_string = environ.get("QUERY_STRING", "").encode("latin-1")

    @property
    def args(self) -> dict[str, str]:
        """The first value of each query parameter."""
        pairs = parse_qsl(self.query_string.decode("utf-8", "replace"), keep_blank_values=True)
        return dict(reversed(pairs))

    @property
    def cookies(self) -> dict[str, str]:
        """The first value of each cookie (RFC 6265, section 4.2.1). One that is malformed does not hide the others."""
        pairs = (part.partition("=") for part in (self.headers.get("Cookie") or "").split(";"))
        named = [(name.strip(), value.strip().strip('"')) for name, separator, value in pairs if separator]
        return dict(reversed(named))


class SecurityMiddleware:
    """Runs the chain on every request and passes the admitted ones to the application.

    The identity is in the chain's context while the application runs.

    Args:
        application: The WSGI application.
        chain: The chain to run.
        scopes: The scopes that every identity needs, on public routes too.
    """

    def __init__(self, application: Application, chain: SecurityChain, scopes: str | Iterable[str] = ()) -> None:
        self._application = application
        self._chain = chain
        required = parse_scopes(scopes)
        self._check_scopes = scopes_provider(*required) if required else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        response = Response()
        try:
            request = Request(_WsgiRequest(environ))
            self._chain.execute(request, response)
            if self._check_scopes is not None:
                self._require_scopes(self._check_scopes, request, response)
        except UnicodeError:
            return _send(start_response, *to_response(SecurityException("the path is not valid text", 400)))
        except SecurityException as err:
            status, headers, body = to_response(err)
            return _send(start_response, status, {**response.headers, **headers}, body)
        context = self._chain.security_context
        assert context is not None
        if response.modified:
            context.clear_auth()
            return _send(start_response, response.status_code, response.headers, response.get_response_body())

        def start_with_headers(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *response.headers.items()], *exc_info)

        auth = context.get_auth()
        try:
            body_parts = self._application(environ, start_with_headers)
        finally:
            context.clear_auth()
        # A plain list is complete: iterating it runs no application code.
        return body_parts if type(body_parts) is list else _Body(body_parts, context, auth)

    def _require_scopes(self, check: Provider, request: Request, response: Response) -> None:
        context = self._chain.security_context
        assert context is not None  # execute() would have raised
        try:
            check(context, request, response)
        except SecurityException:
            context.clear_auth()
            raise


class _Body:
    """A response body that is produced while the server iterates it.

    The identity is set only while a part is produced: a server may alternate between several responses in one thread.
    """

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
        """Close the application's body."""
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


def _send(start_response: StartResponse, status: int, headers: dict[str, str], body: str) -> list[bytes]:
    content = body.encode()
    all_headers = [*headers.items(), ("Content-Length", str(len(content)))]
    start_response(f"{status} {reason_phrase(status)}", all_headers)
    return [content]
