"""The fields that requests and replies are made of: each parsed strictly, and documented where it is parsed."""

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from service.domain.history import STEPS
from service.domain.parsing import (
    MAX_LIMIT,
    MAX_LOAN_ID,
    parse_bool,
    parse_choice,
    parse_date,
    parse_limit,
    parse_loan_id,
    parse_time,
    parse_version,
)
from service.web.pagination import Cursor, parse_cursor
from service.web.schemas.headers import CHALLENGE, RETRY_AFTER, Headers


def _no_default(schema: dict[str, Any]) -> None:
    del schema["default"]  # what has this may be left out, and is never null


LoanId = Annotated[
    int,
    BeforeValidator(parse_loan_id),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LOAN_ID, "example": 1}),
    Field(description="the loan"),
]
Day = Annotated[
    date,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-07-01"}),
    Field(description="a date, YYYY-MM-DD; a future one counts what is posted up to it"),
]
Money = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2}$", "example": "10250.00"})]
Currency = Annotated[str, Field(json_schema_extra={"example": "USD"})]
Version = Annotated[
    int,
    Field(description="how many events the loan has", json_schema_extra={"example": 10}),
]
MinVersion = Annotated[
    int,
    BeforeValidator(parse_version),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_LOAN_ID, "default": 0}),
    Field(description="the version that the reply shows at least, such as the one that posting an event gave"),
]
AsOfVersion = Annotated[
    int | None,
    BeforeValidator(parse_version),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_LOAN_ID, "example": 2}),
    Field(
        description="the loan as it was when it had so many events, and for ever is; 0: without any. "
        "Not together with `min_version`",
        json_schema_extra=_no_default,
    ),
]
KnownAt = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "example": "2020-07-01T12:00:00Z"}),
    Field(
        description="the loan as far as it was recorded by then, and what this service would have said; 412 for a time "
        "before which something may still be recorded. Not together with `min_version` or `as_of_version`",
        json_schema_extra=_no_default,
    ),
]
FirstDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-01-01"}),
    Field(
        alias="from",
        description="the first day; if it is left out, the one on which the loan starts",
        json_schema_extra=_no_default,
    ),
]
LastDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-12-31"}),
    Field(
        alias="to",
        description="the last day; if it is left out, today in the service's time zone",
        json_schema_extra=_no_default,
    ),
]
Step = Annotated[
    str,
    BeforeValidator(parse_choice(STEPS)),
    WithJsonSchema({"type": "string", "enum": list(STEPS), "default": "change"}),
    Field(description="each day on which the balance changed, each day, or the last day of each month"),
]
Limit = Annotated[
    int,
    BeforeValidator(parse_limit),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100}),
    Field(description="how many events a page has at most"),
]
PageCursor = Annotated[
    InstanceOf[Cursor] | None,
    BeforeValidator(parse_cursor),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{56}$"}),
    Field(
        description="the `next_cursor` of the page before; it knows the dates and the version",
        json_schema_extra=_no_default,
    ),
]
Format = Annotated[
    str | None,
    BeforeValidator(parse_choice(("json", "csv"))),
    WithJsonSchema({"type": "string", "enum": ["json", "csv"]}),
    Field(description="instead of what `Accept` says", json_schema_extra=_no_default),
]
Explain = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="whether to tell the terms, the events behind the balance (at most 10,000) and a digest of them"),
]
PartsFlag = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="whether to split the balance into fees, interest and principal"),
]


def only_if(parameter: str, description: str) -> Any:
    """A member that a reply has only if a parameter of the query asks for it."""
    return optional_member(f"with `{parameter}=true`: {description}")


def optional_member(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra=_no_default)


class Query(BaseModel):
    """The parameters of a query, and no others. The framework asks for the schema of each with every request: it is
    made once."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    @cache
    def model_json_schema(  # type: ignore[override]
        cls, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """The schema, which nobody may change."""
        return super().model_json_schema(*args, **kwargs)


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


_REFUSALS: dict[int, tuple[str, Headers]] = {
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
        for status, (meaning, headers) in _REFUSALS.items()
        if status in statuses
    }
