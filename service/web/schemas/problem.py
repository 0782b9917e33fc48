"""Problem details (RFC 9457), and the documentation of the error statuses."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from service.web.schemas.common import optional_member
from service.web.schemas.headers import CHALLENGE, RETRY_AFTER, Headers


class FieldProblem(BaseModel):
    """An invalid part of a request."""

    field: str = Field(json_schema_extra={"example": "date"})
    detail: str = Field(json_schema_extra={"example": "expected a date written YYYY-MM-DD"})


class Problem(BaseModel):
    """A problem document (RFC 9457), with Microkubes' `code` and `message`."""

    type: str = Field(
        description="The kind of problem: a URN, or about:blank.", json_schema_extra={"example": "about:blank"}
    )
    title: str = Field(json_schema_extra={"example": "Bad Request"})
    status: int = Field(json_schema_extra={"example": 400})
    detail: str = Field(json_schema_extra={"example": "date: expected a date written YYYY-MM-DD"})
    code: int = Field(description="The same as `status`.", json_schema_extra={"example": 400})
    message: str = Field(
        description="The same as `detail`.", json_schema_extra={"example": "date: expected a date written YYYY-MM-DD"}
    )
    errors: list[FieldProblem] | SkipJsonSchema[None] = optional_member("The invalid parts of the request.")
    loan_id: int | SkipJsonSchema[None] = optional_member("The loan that the problem is about.")
    version: int | SkipJsonSchema[None] = optional_member("The loan's version.")
    known_until: datetime | SkipJsonSchema[None] = optional_member("Only times before this one are final.")


_DESCRIPTIONS: dict[int, tuple[str, Headers]] = {
    400: ("The request is invalid; `errors` names the fields.", {}),
    401: ("The request has no valid token.", CHALLENGE),
    403: ("The token lacks the required scope.", CHALLENGE),
    404: ("The resource does not exist.", {}),
    409: ("The loan or event already exists, or the `Idempotency-Key` was used for a different request.", {}),
    412: (
        "The loan has not reached the requested version, is not at the expected version, or `known_at` is too recent.",
        {},
    ),
    413: ("The body is too large.", {}),
    415: ("The body is not uncompressed `application/json`.", {}),
    422: (
        "The ledger rejects what is posted; `errors` names the fields. For reading: an amount does not fit 64 bits of "
        "minor units.",
        {},
    ),
    503: ("The ledger is temporarily unavailable; `Retry-After` says when to retry.", RETRY_AFTER),
}


def problems(*statuses: int) -> dict[int | str, Any]:
    """Return the documentation of these error statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": description, "headers": headers, "content": content}
        for status, (description, headers) in _DESCRIPTIONS.items()
        if status in statuses
    }
