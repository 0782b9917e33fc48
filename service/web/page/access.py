"""Who may see the page: the token in the cookie, decided by the same chain as the tokens of the API."""

from typing import Any

from flask import Response, redirect, request
from werkzeug.datastructures import Headers

from security.frameworks.flask import Security
from security.messages import Request
from service.web.page.context import page_context
from service.web.page.errors import failure_response
from service.web.page.headers import secure
from service.web.page.paths import safe_next
from service.web.page.rendering import render
from service.web.page.token_cookie import clear_token, read_token


class _TokenMessage(Request):
    """The current request as it would be with a token in `Authorization`, and with no other credentials."""

    def __init__(self, token: str | None) -> None:
        super().__init__(request)
        self._headers = Headers(request.headers)
        self._headers.remove("Authorization")
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    @property
    def headers(self) -> Any:
        return self._headers


class PageAccess:
    """Authenticates the requests of the page.

    Args:
        security: The chain of providers that authenticates callers.
    """

    def __init__(self, security: Security) -> None:
        self._security = security

    def check(self, scopes: tuple[str, ...]) -> Response | None:
        """Return what to reply to the current request instead of its view; None if it is admitted.

        Args:
            scopes: The scopes that the token needs.
        """
        token = read_token(request)
        response = self.try_token(token, scopes)
        if response is None or response.status_code < 400:
            return response
        if response.status_code != 401:
            return failure_response(response)
        if token is None and request.headers.get("Sec-Fetch-Site") == "cross-site":
            # After a link on another site, the browser keeps the cookie back once.
            return render("again.html", page_context())
        page = page_context()
        target = page.link("/sign-in", next=safe_next(page.here), ended="" if token is None else "true")
        answer: Response = redirect(target, 303)  # type: ignore[assignment]
        if token is not None:
            clear_token(request, answer)
        return secure(answer)

    def try_token(self, token: str | None, scopes: tuple[str, ...]) -> Response | None:
        """Return the reply of the chain to the current request with a token; None if it is admitted."""
        return self._security.check(scopes, _TokenMessage(token))[1]
