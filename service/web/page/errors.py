"""Errors as pages: what is wrong, and where to go from there."""

from dataclasses import dataclass, field
from http import HTTPStatus

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from service.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    InvalidRequest,
    QueryTimeout,
    TimeNotReached,
    UnknownLoan,
    VersionNotReached,
)
from service.web.access import public
from service.web.error_handlers import to_response
from service.web.near_miss import find_near_miss
from service.web.page.context import PageContext, page_context
from service.web.page.filters import in_utc
from service.web.page.paths import PAGE
from service.web.page.rendering import render, render_outside
from service.web.request import ignores_query


@dataclass(frozen=True)
class Failure:
    """What an error page says.

    Attributes:
        status: The HTTP status.
        title: What is wrong, in a few words.
        detail: What that means for the person.
        fields: A pair of field and detail for each invalid part of the address.
        near: The path that was probably meant, with the gateway's prefix; empty if none is known.
        is_temporary: Whether the same address may work later.
    """

    status: int
    title: str
    detail: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    near: str = ""
    is_temporary: bool = False


_FORBIDDEN = Failure(
    403,
    "No permission",
    "You are signed in, but your token does not allow reading loans: it lacks the scope api:read. Sign out, and sign "
    "in with another client or token.",
)
_UNAVAILABLE = Failure(
    503,
    "The ledger cannot be reached",
    "The service works, but its database does not answer at the moment. Nothing is lost. Try again shortly.",
    is_temporary=True,
)
_LEDGER_BUSY = Failure(
    503,
    "The ledger is busy",
    "The ledger works, but it is answering as many questions as it can at a time. Nothing is lost. Try again shortly.",
    is_temporary=True,
)
_TOO_SLOW = Failure(
    503,
    "The ledger took too long",
    "The answer was not ready within the time that the service allows. Try again, or ask for less.",
    is_temporary=True,
)
_UNCHECKED = Failure(
    503,
    "Your sign-in cannot be checked",
    "The service works, but the platform that knows your token does not answer at the moment. Try again shortly.",
    is_temporary=True,
)
_BUSY = Failure(
    503, "The service is busy", "Too many requests are waiting at the moment. Try again shortly.", is_temporary=True
)
_INTERNAL = Failure(
    500, "Something went wrong", "The service has logged the details. Other views may still work.", is_temporary=True
)


def add_error_route(routes: Blueprint) -> None:
    """Add a route to the page's blueprint for all paths that no other route has, or routes of the API would match."""

    @routes.get(f"{PAGE}/<path:unknown>")
    @public
    @ignores_query
    def unknown(unknown: str) -> Response:
        raise NotFound


def failure_response(problem: Response) -> Response:
    """Return the page of an error with which the security chain has replied."""
    status = problem.status_code
    failure = _FORBIDDEN if status == 403 else _UNCHECKED if status == 503 else _INTERNAL
    return _with_headers(render("error.html", page_context(), status, failure=failure), problem)


def to_page(err: Exception) -> Response:
    """Convert an error in the page to a reply. What is logged, the status and its headers are those of the API."""
    problem = to_response(err)
    if problem.status_code < 400:
        return problem
    failure = _describe(err, problem)
    return _with_headers(render("error.html", page_context(), failure.status, failure=failure), problem)


def to_page_outside(app: Flask, prefix: str, err: Exception) -> Response:
    """Convert an error to a reply, for a request that the application has not seen.

    Args:
        app: The application that has the templates.
        prefix: The gateway's prefix.
        err: The error.
    """
    problem = to_response(err)
    failure = _describe(err, problem)
    return _with_headers(
        render_outside(app, "error.html", PageContext(root=prefix), failure.status, failure=failure), problem
    )


def _with_headers(response: Response, problem: Response) -> Response:
    kept = {name: problem.headers[name] for name in ("Allow", "Retry-After") if name in problem.headers}
    response.headers.update(kept)
    return response


def _describe(err: Exception, problem: Response) -> Failure:
    status = problem.status_code
    match err:
        case UnknownLoan():
            detail = f"The ledger has no loan {err.loan_id}, or had none at the time that you chose."
            return Failure(status, f"No loan {err.loan_id}", detail)
        case InvalidRequest():
            return Failure(status, "This address has a mistake", "Correct it, or begin again.", err.errors)
        case VersionNotReached():
            detail = f"Loan {err.loan_id} has {err.version} records, fewer than the version that was requested."
            return Failure(status, "This version does not exist yet", detail)
        case TimeNotReached():
            detail = f"Answers are final only for times before {in_utc(err.until)} UTC."
            return Failure(status, "This time is too recent", detail, is_temporary=True)
        case DatabaseBusy():
            return _LEDGER_BUSY
        case QueryTimeout():
            return _TOO_SLOW
        case DatabaseUnavailable():
            return _UNAVAILABLE
        case NotFound():
            return Failure(status, "Nothing is here", "This address leads nowhere.", near=_near())
        case MethodNotAllowed():
            return Failure(status, "Nothing can be sent here", "This address can only be opened.")
        case _ if status == 503:
            return _BUSY
        case HTTPException() | _ if status < 500:
            return Failure(status, HTTPStatus(status).phrase, f"{problem.get_json()['detail']}.")
        case _:
            return _INTERNAL


def _near() -> str:
    found = (find_near_miss(request.path, "GET") or "").removeprefix("GET ")
    return found if found.removeprefix(request.script_root).startswith(f"{PAGE}/") else ""
