"""Signing in, by a client's id and secret or by a token of the platform, and signing out."""

import time
from dataclasses import replace

from flask import Blueprint, Response, redirect, request

from service.errors import NoSigningKey
from service.observability import metrics
from service.observability.request_marks import note_caller
from service.tokens.grants import GrantRefused, TokenGrants
from service.web.access import READ, public
from service.web.page.access import PageAccess
from service.web.page.context import page_context
from service.web.page.errors import Failure
from service.web.page.headers import secure
from service.web.page.origin_check import comes_from_here
from service.web.page.paths import PAGE, SIGN_IN, SIGN_OUT, safe_next, sign_in_path
from service.web.page.query import PageQuery, parses_query
from service.web.page.rendering import render
from service.web.page.token_cookie import clear_token, parse_pasted_token, read_token, write_token

_SCOPES = (READ,)  # the page only reads, so its token can do nothing else
_FOREIGN = Failure(
    403,
    "This form came from elsewhere",
    "Your browser says that another site sent it, or does not say where it came from. Open the page, and use its own "
    "form.",
)


class SignInQuery(PageQuery):
    """Query parameters of the sign-in."""

    next: str = PAGE
    ended: bool = False


class _Refused(Exception):
    """A sign-in that failed. The message is for the person."""

    def __init__(self, message: str, status: int = 401, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def add_sign_in_routes(routes: Blueprint, access: PageAccess, grants: TokenGrants, secure_loans: bool) -> None:
    """Add the routes to the page's blueprint.

    Args:
        routes: The blueprint.
        access: Authenticates requests.
        grants: Grants tokens to clients.
        secure_loans: Whether reading loans requires a token.
    """

    def form(destination: str, status: int = 200, **members: object) -> Response:
        given = {"client_id": "", "error": "", "used": "", "ended": False, **members}
        page = replace(page_context(), here=sign_in_path(destination))
        return render(
            "sign_in.html", page, status, issues_tokens=grants.are_possible(), destination=destination, **given
        )  # fmt: skip

    @routes.get(SIGN_IN)
    @public
    @parses_query
    def sign_in(query: SignInQuery) -> Response:
        destination = safe_next(query.next)
        if not secure_loans:
            return _redirect(destination)
        return form(destination, ended=query.ended)

    @routes.post(SIGN_IN)
    @public
    @parses_query
    def send_sign_in(query: SignInQuery) -> Response:
        if not comes_from_here(request):
            return render("error.html", page_context(), 403, failure=_FOREIGN)
        destination = safe_next(request.form.get("next", query.next))
        used = "token" if "token" in request.form else "client"
        client_id = request.form.get("client_id", "").strip()
        try:
            token = _paste() if used == "token" else _request_token(grants, client_id)
            _check(access, token)
        except _Refused as err:
            response = form(destination, err.status, client_id=client_id, error=str(err), used=used)
            if err.retry_after_s is not None:
                response.headers["Retry-After"] = str(err.retry_after_s)
            return response
        response = _redirect(destination)
        write_token(request, response, token, time.time())
        return response

    @routes.post(SIGN_OUT)
    @public
    def sign_out() -> Response:
        if not comes_from_here(request):
            return render("error.html", page_context(), 403, failure=_FOREIGN)
        response = _redirect(SIGN_IN)
        if read_token(request) is not None:
            clear_token(request, response)
        return response


def _redirect(path: str) -> Response:
    """Return a redirect to a path of the page."""
    response: Response = redirect(f"{request.script_root}{path}", 303)  # type: ignore[assignment]
    return secure(response)


def _paste() -> str:
    try:
        return parse_pasted_token(request.form["token"])
    except ValueError as err:
        raise _Refused(str(err), 400) from None


def _request_token(grants: TokenGrants, client_id: str) -> str:
    """Return a token for the client of the form, which may only read.

    Raises:
        _Refused: If the client gets none.
    """
    secret = request.form.get("client_secret", "")
    try:
        if not grants.are_possible():
            raise NoSigningKey
        if not client_id or not secret:
            raise _Refused("Enter the client's id and its secret.", 400)
        grant = grants.grant(client_id, [secret], request.remote_addr or "", " ".join(_SCOPES), note_caller)
    except NoSigningKey:
        metrics.token_requests.labels("nothing_to_issue").inc()
        raise _Refused("This service issues no tokens. Paste one of the platform.", 404) from None
    except GrantRefused as err:
        metrics.token_requests.labels(err.error).inc()
        raise _to_refusal(err) from None
    metrics.token_requests.labels("issued").inc()
    return grant.token


def _to_refusal(err: GrantRefused) -> _Refused:
    match err.error:
        case "slow_down":
            wait = f"Too many failed attempts. Try again in {err.retry_after_s} seconds."
            return _Refused(wait, err.status, err.retry_after_s)
        case "invalid_scope":
            return _Refused("This client may not read loans: it lacks the scope api:read.", 403)
        case _:
            return _Refused("The client's id or its secret is wrong.", err.status)


def _check(access: PageAccess, token: str) -> None:
    """Check that a token opens the page.

    Raises:
        _Refused: If it does not.
    """
    response = access.try_token(token, _SCOPES)
    if response is None or response.status_code < 400:
        return
    match response.status_code:
        case 401:
            reason = str((response.get_json(silent=True) or {}).get("detail", "it is not valid"))
            raise _Refused(f"This token was not accepted: {reason}.")
        case 403:
            raise _Refused("This token may not read loans: it lacks the scope api:read.", 403)
        case status:
            wait_s = int(response.headers.get("Retry-After", 1))
            raise _Refused("The token cannot be checked at the moment. Try again shortly.", status, wait_s)
