"""Problem details (RFC 9457), and the documentation of the statuses that carry them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from service.web.schemas.common import optional_member
from service.web.schemas.headers import CHALLENGE, RETRY_AFTER, Headers


class FieldProblem(BaseModel):
    """What is wrong with a part of a request."""

    field: str = Field(json_schema_extra={"example": "date"})
    detail: str = Field(json_schema_extra={"example": "expected a date written YYYY-MM-DD"})


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457), with Microkubes' code and message."""

    type: str = Field(
        description="names the kind of problem, or about:blank", json_schema_extra={"example": "about:blank"}
    )
    title: str = Field(json_schema_extra={"example": "Bad Request"})
    status: int = Field(json_schema_extra={"example": 400})
    detail: str = Field(json_schema_extra={"example": "date: expected a date written YYYY-MM-DD"})
    code: int = Field(description="the same as status", json_schema_extra={"example": 400})
    message: str = Field(
        description="the same as detail", json_schema_extra={"example": "date: expected a date written YYYY-MM-DD"}
    )
    errors: list[FieldProblem] | SkipJsonSchema[None] = optional_member("each wrong part, if that is why")
    loan_id: int | SkipJsonSchema[None] = optional_member("the loan, if it is about one")
    version: int | SkipJsonSchema[None] = optional_member("the loan's version, if it is about that")
    known_until: datetime | SkipJsonSchema[None] = optional_member(
        "the last time of which all is known, if it is about that"
    )


_DESCRIPTIONS: dict[int, tuple[str, Headers]] = {
    400: ("the request says something that is not understood; `errors` names the fields", {}),
    401: ("no valid token", CHALLENGE),
    403: ("the token lacks the scope", CHALLENGE),
    404: ("there is no such thing", {}),
    409: ("the ledger has it already, or the Idempotency-Key was used for another request", {}),
    412: ("the loan does not have that version, or not all is known of that time, yet", {}),
    413: ("the body is too large", {}),
    415: ("the body is not application/json", {}),
    422: ("the ledger cannot take what is said; `errors` names the fields", {}),
    503: ("the ledger cannot be reached now; `Retry-After` says when to try again", RETRY_AFTER),
}


def problems(*statuses: int) -> dict[int | str, Any]:
    """The documentation of these refusals."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": meaning, "headers": headers, "content": content}
        for status, (meaning, headers) in _DESCRIPTIONS.items()
        if status in statuses
    }
