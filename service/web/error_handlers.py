"""Converts errors to RFC 9457 problem documents. Details go to the log, never to the client."""

import logging
from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask, Response, request
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from security.problem import MEDIA_TYPE, problem
from service.errors import (
    AmountTooLarge,
    DatabaseUnavailable,
    EventsExist,
    InvalidRequest,
    KeyReused,
    LoanExists,
    OutcomeUnknown,
    PostingRefused,
    RecordExists,
    RequestRefused,
    TimeNotReached,
    UnknownLoan,
    VersionChanged,
    VersionNotReached,
)
from service.plural import counted
from service.web.advice import advise_on_method, advise_on_path, advise_on_values

log = logging.getLogger(__name__)

Converter = Callable[[Exception], Response]

_MESSAGES = {  # instead of the library's messages; in braces, members of the error's context
    "extra_forbidden": "unknown field",
    "missing": "missing",
    "bool_type": "expected true or false",
    "dict_type": "expected an object",
    "greater_than_equal": "expected a whole number of at least {ge}",
    "int_type": "expected a whole number",
    "less_than_equal": "expected a whole number of at most {le}",
    "list_type": "expected a list",
    "model_attributes_type": "expected an object",
    "model_type": "expected an object",
    "too_long": "expected at most {items}",
    "too_short": "expected at least {items}",
}
MAX_ERRORS = 100  # reported for one request: a reply must not be longer than the request


def problem_response(status: int, message: str, slug: str | None = None, **members: Any) -> Response:
    """Build a reply with a problem document.

    Args:
        status: The HTTP status.
        message: The reason, for people.
        slug: The kind of problem, for programs: the last part of `type`. None means about:blank.
        members: Extension members.
    """
    if slug is not None:
        members["type"] = f"urn:loaner:problem:{slug}"
    return Response(orjson.dumps(problem(status, message, **members)), status, content_type=MEDIA_TYPE)


def on_validation_error(err: ValidationError) -> Response:
    """Convert a validation error, on behalf of the framework.

    Raises:
        InvalidRequest: Always, with the invalid fields.
    """
    raise to_invalid_request(err)


def to_invalid_request(err: ValidationError) -> InvalidRequest:
    """Convert a validation error to one that names the invalid fields."""
    errors = [
        (".".join(map(str, each["loc"])) or "body", _to_detail(each))
        for each in err.errors(include_url=False, include_input=False)[:MAX_ERRORS]
    ]
    field, detail = errors[-1]
    if field in (request.view_args or ()) and (advice := advise_on_values()):
        errors[-1] = field, f"{detail}; {advice}"
    return InvalidRequest(errors)


def _to_detail(error: ErrorDetails) -> str:
    message = _MESSAGES.get(error["type"])
    if message is None:
        return error["msg"].removeprefix("Value error, ")
    context = error.get("ctx", {})
    length = context.get("min_length", context.get("max_length", 0))
    return message.format(**context, items=counted(length, "item"))


def to_response(err: Exception) -> Response:
    """Convert an error to a reply. An unexpected error is logged with its traceback, and is 500."""
    match err:
        case InvalidRequest():
            return problem_response(400, str(err), "invalid-request", errors=_to_members(err.errors))
        case EventsExist():
            return problem_response(409, str(err), "events-exist", errors=_to_members(err.errors))
        case RecordExists():
            return problem_response(409, str(err), "record-exists", errors=_to_members(err.errors))
        case PostingRefused():
            return problem_response(422, str(err), "posting-refused", errors=_to_members(err.errors))
        case AmountTooLarge():
            return problem_response(422, str(err), "amount-too-large", loan_id=err.loan_id)
        case KeyReused():
            return problem_response(409, str(err), "key-reused")
        case LoanExists():
            return problem_response(409, str(err), "loan-exists", loan_id=err.loan_id)
        case UnknownLoan():
            return problem_response(404, str(err), "unknown-loan", loan_id=err.loan_id)
        case VersionNotReached():
            return problem_response(412, str(err), "version-not-reached", loan_id=err.loan_id, version=err.version)
        case VersionChanged():
            return problem_response(412, str(err), "version-changed", loan_id=err.loan_id, version=err.version)
        case TimeNotReached():
            return problem_response(412, str(err), "time-not-reached", known_until=err.until)
        case RequestRefused():
            return _refusal_response(err)
        case DatabaseUnavailable():
            return _unavailable_response(err)
        case HTTPException():
            return _framework_response(err)
        case _:
            log.error("unexpected error, replied 500", exc_info=err)
            return problem_response(500, "internal error; the service has logged the details", "internal")


def _to_members(errors: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"field": field, "detail": detail} for field, detail in errors]


def _unavailable_response(err: DatabaseUnavailable) -> Response:
    log.warning("replied 503: %s", err)
    if isinstance(err, OutcomeUnknown):
        message = "outcome unknown: retry with the same Idempotency-Key; without one, a retry may post twice"
        response = problem_response(503, message, "outcome-unknown")
    else:
        response = problem_response(503, "the ledger is temporarily unavailable; retry later", "unavailable")
    response.headers["Retry-After"] = str(err.retry_after_s)
    return response


def _refusal_response(err: RequestRefused) -> Response:
    response = problem_response(err.status, str(err))
    if err.retry_after_s is not None:
        response.headers["Retry-After"] = str(err.retry_after_s)
    return response


def _framework_response(err: HTTPException) -> Response:
    if err.code is None or err.code < 400:
        return err.get_response()  # type: ignore[return-value]
    response = problem_response(err.code, _framework_message(err))
    kept = {name: value for name, value in err.get_headers() if name.lower() in ("allow", "retry-after")}
    response.headers.update(kept)
    return response


def _framework_message(err: HTTPException) -> str:
    match err:
        case NotFound():
            return f"not found; {advise_on_path()}"
        case MethodNotAllowed():
            return f"the method is not allowed; {advise_on_method(err.valid_methods or ())}"
        case _:
            return err.description or err.name


def register(app: Flask, page: tuple[Callable[[str], bool], Converter] | None = None) -> None:
    """Register the conversion for every error of an application.

    Args:
        app: The application.
        page: Which paths are pages in a browser, and the conversion of their errors instead of `to_response`.
    """

    def convert(err: Exception) -> Response:
        if page is not None and page[0](request.path):
            return page[1](err)
        return to_response(err)

    app.register_error_handler(Exception, convert)
