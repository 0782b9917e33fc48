"""Errors as replies: RFC 9457 problem documents. Details go to the log, never to the client."""

import logging
from typing import Any

import orjson
from flask import Flask, Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from security.problem import MEDIA_TYPE, problem
from service.errors import (
    DatabaseUnavailable,
    EventsExist,
    InvalidRequest,
    KeyReused,
    LoanExists,
    OutcomeUnknown,
    PostingRefused,
    TimeNotReached,
    UnknownLoan,
    VersionNotReached,
)

log = logging.getLogger(__name__)

_SAID = {"extra_forbidden": "is not known here", "missing": "is missing"}  # in place of the library's own words
MAX_ERRORS = 100  # of one request: what is said of them is not to be longer than what it said


def reply(status: int, message: str, slug: str | None = None, **members: Any) -> Response:
    """A problem reply. slug: names the kind of problem, for programs. members: extensions."""
    if slug is not None:
        members["type"] = f"urn:loaner:problem:{slug}"
    return Response(orjson.dumps(problem(status, message, **members)), status, content_type=MEDIA_TYPE)


def on_validation_error(err: ValidationError) -> Response:
    """Called by the framework for a request that does not fit its model."""
    raise InvalidRequest(
        [
            (".".join(map(str, e["loc"])) or "body", _SAID.get(e["type"], e["msg"].removeprefix("Value error, ")))
            for e in err.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]
        ]
    )


def reply_to(err: Exception) -> Response:
    """The reply to whoever ran into this error. What is not known here is a mistake of ours, and is logged."""
    match err:
        case InvalidRequest():
            return reply(400, str(err), "invalid-request", errors=_field_problems(err.errors))
        case EventsExist():
            return reply(409, str(err), "events-exist", errors=_field_problems(err.errors))
        case PostingRefused():
            return reply(422, str(err), "posting-refused", errors=_field_problems(err.errors))
        case KeyReused():
            return reply(409, str(err), "key-reused")
        case LoanExists():
            return reply(409, str(err), "loan-exists", loan_id=err.loan_id)
        case UnknownLoan():
            return reply(404, str(err), "unknown-loan", loan_id=err.loan_id)
        case VersionNotReached():
            return reply(412, str(err), "version-not-reached", loan_id=err.loan_id, version=err.version)
        case TimeNotReached():
            return reply(412, str(err), "time-not-reached", known_until=err.until)
        case DatabaseUnavailable():
            log.warning("answered 503: %s", err)
            if isinstance(err, OutcomeUnknown):
                message = "this may have been posted, or not; repeat it with the same Idempotency-Key, and only so"
                response = reply(503, message, "outcome-unknown")
            else:
                response = reply(503, "the ledger cannot be reached now; try again", "unavailable")
            response.headers["Retry-After"] = str(err.retry_after_s)
            return response
        case HTTPException():
            return _framework_response(err)
        case _:
            log.error("answered 500", exc_info=err)
            return reply(500, "something went wrong here; it has been logged", "internal")


def _field_problems(errors: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"field": field, "detail": detail} for field, detail in errors]


def _framework_response(err: HTTPException) -> Response:
    if err.code is None or err.code < 400:
        return err.get_response()  # type: ignore[return-value]
    # the framework's own sentence for 404 is about typing mistakes in a browser
    response = reply(err.code, "there is nothing here" if err.code == 404 else err.description or err.name)
    kept = {name: value for name, value in err.get_headers() if name.lower() in ("allow", "retry-after")}
    response.headers.update(kept)
    return response


def register(app: Flask) -> None:
    """Have every error of `app` answered as a problem."""
    app.register_error_handler(Exception, reply_to)
