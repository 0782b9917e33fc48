"""The fields that requests and replies are made of: each parsed strictly, and documented where it is parsed."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema

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
from service.web.schemas.common import omit_default

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
        json_schema_extra=omit_default,
    ),
]
KnownAt = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "example": "2020-07-01T12:00:00Z"}),
    Field(
        description="the loan as far as it was recorded by then, and what this service would have said; 412 for a time "
        "before which something may still be recorded. Not together with `min_version` or `as_of_version`",
        json_schema_extra=omit_default,
    ),
]
FirstDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-01-01"}),
    Field(
        alias="from",
        description="the first day; if it is left out, the one on which the loan starts",
        json_schema_extra=omit_default,
    ),
]
LastDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-12-31"}),
    Field(
        alias="to",
        description="the last day; if it is left out, today in the service's time zone",
        json_schema_extra=omit_default,
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
        json_schema_extra=omit_default,
    ),
]
Format = Annotated[
    str | None,
    BeforeValidator(parse_choice(("json", "csv"))),
    WithJsonSchema({"type": "string", "enum": ["json", "csv"]}),
    Field(description="instead of what `Accept` says", json_schema_extra=omit_default),
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
