"""Types of path and query parameters and of members of replies, with their parsers and documentation."""

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
    Field(description="The loan's id."),
]
Day = Annotated[
    date,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-07-01"}),
    Field(description="A date, YYYY-MM-DD."),
]
BalanceDay = Annotated[
    Day, Field(description="The date, YYYY-MM-DD. A future date counts the events that have been posted up to it.")
]
Money = Annotated[
    str,
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,4})?$", "example": "10250.00"}),
    Field(description="An amount: a decimal string with as many decimals as the currency has."),
]
RecordedAt = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "example": "2020-07-01T12:00:00.000000Z"}),
    Field(description="When this was recorded, in UTC with microseconds. Use it as `known_at` to include it."),
]
Currency = Annotated[str, Field(description="The loan's currency.", json_schema_extra={"example": "USD"})]
Version = Annotated[
    int,
    Field(description="The number of the loan's events.", json_schema_extra={"example": 10}),
]
MinVersion = Annotated[
    int,
    BeforeValidator(parse_version),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_LOAN_ID, "default": 0}),
    Field(description="The minimum version that the reply must show, such as the one that a posting returned."),
]
AsOfVersion = Annotated[
    int | None,
    BeforeValidator(parse_version),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_LOAN_ID, "example": 2}),
    Field(
        description="Answers from the loan's first N events; 0 means no events. The answer is immutable. Cannot be "
        "combined with `known_at` or `min_version`.",
        json_schema_extra=omit_default,
    ),
]
KnownAt = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "example": "2020-07-01T12:00:00Z"}),
    Field(
        description="Answers from the events that had been recorded by this time (RFC 3339). The answer is immutable. "
        "A time that is too recent is 412. Cannot be combined with `as_of_version` or `min_version`.",
        json_schema_extra=omit_default,
    ),
]
FirstDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-01-01"}),
    Field(
        alias="from",
        description="The first day. The default is the loan's start date.",
        json_schema_extra=omit_default,
    ),
]
LastDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2020-12-31"}),
    Field(
        alias="to",
        description="The last day. The default is today in the service's time zone.",
        json_schema_extra=omit_default,
    ),
]
Step = Annotated[
    str,
    BeforeValidator(parse_choice(STEPS)),
    WithJsonSchema({"type": "string", "enum": list(STEPS), "default": "change"}),
    Field(
        description="The points to return: `change` (the first day, and each day on which the balance changed), `day` "
        "(every day) or `month` (the last day of each month, and the last day of the range)."
    ),
]
Limit = Annotated[
    int,
    BeforeValidator(parse_limit),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100}),
    Field(description="The maximum number of events per page."),
]
PageCursor = Annotated[
    InstanceOf[Cursor] | None,
    BeforeValidator(parse_cursor),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_-]{56}$"}),
    Field(
        description="The `next_cursor` of the previous page. It contains the dates and the version.",
        json_schema_extra=omit_default,
    ),
]
Format = Annotated[
    str | None,
    BeforeValidator(parse_choice(("json", "csv"))),
    WithJsonSchema({"type": "string", "enum": ["json", "csv"]}),
    Field(description="The format of the reply. Overrides `Accept`.", json_schema_extra=omit_default),
]
Explain = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="Adds the terms, the events that make up the balance (at most 10,000) and a digest of them."),
]
PartsFlag = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="Splits the balance into fees, interest and principal."),
]
