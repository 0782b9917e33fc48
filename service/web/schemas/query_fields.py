"""Types of path and query parameters and of members of replies, with their parsers and documentation.

Swagger UI sends the `example` or `default` of a parameter unless a person changes it. So an optional parameter has no
example, and one that cannot be combined with others has no default either.
"""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema

from service.domain.history import STEPS
from service.domain.money import parse_signed_amount
from service.domain.parsing import (
    EVENT_TYPES,
    MAX_LIMIT,
    MAX_LOAN_ID,
    MAX_SOURCE_ID_CHARS,
    parse_bool,
    parse_choice,
    parse_date,
    parse_event_type,
    parse_limit,
    parse_loan_id,
    parse_source_id,
    parse_time,
    parse_version,
)
from service.ledger.loan_search import STATES, SearchPosition
from service.web.pagination import (
    Cursor,
    EventsCursor,
    RecordsCursor,
    parse_cursor,
    parse_events_cursor,
    parse_records_cursor,
    parse_search_cursor,
)
from service.web.schemas.common import omit_default

MAX_CURSOR_CHARS = 20_000
_CURSOR_SCHEMA = {"type": "string", "maxLength": MAX_CURSOR_CHARS, "pattern": "^[A-Za-z0-9_-]+$"}


def _parse_currency_code(text: str) -> str:
    # Existing loans may have codes that are not in ISO 4217.
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("expected three capital letters, such as USD")
    return text


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
DaysPastDue = Annotated[int, Field(ge=0, json_schema_extra={"example": 31})]
RecordedAt = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "example": "2020-07-01T12:00:00.000000Z"}),
    Field(description="When this was recorded, in UTC with microseconds. Use it as `known_at` to include it."),
]
Currency = Annotated[str, Field(description="The loan's currency.", json_schema_extra={"example": "USD"})]
Version = Annotated[
    int,
    Field(
        description="The number of the loan's records: events, terms and schedules.", json_schema_extra={"example": 10}
    ),
]
MinVersion = Annotated[
    int,
    BeforeValidator(parse_version),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_LOAN_ID}),
    Field(
        description="The minimum version that the reply must show, such as the one that a posting returned. The "
        "default is 0. Cannot be combined with `as_of_version` or `known_at`.",
        json_schema_extra=omit_default,
    ),
]
AsOfVersion = Annotated[
    int | None,
    BeforeValidator(parse_version),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_LOAN_ID}),
    Field(
        description="Answers from the loan's first N records; 0 means none. The answer is immutable. Cannot be "
        "combined with `known_at` or `min_version`.",
        json_schema_extra=omit_default,
    ),
]
KnownAt = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(
        description="Answers from the records that had been recorded by this time, such as 2020-07-01T12:00:00Z "
        "(RFC 3339). The answer is immutable. A time that is too recent is 412. Cannot be combined with "
        "`as_of_version` or `min_version`.",
        json_schema_extra=omit_default,
    ),
]
ReportKnownAt = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(
        description="Answers from the loans and records that had been recorded by this time, such as "
        "2020-07-01T12:00:00Z (RFC 3339). The answer is immutable. A time that is too recent is 412.",
        json_schema_extra=omit_default,
    ),
]
FirstDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(
        alias="from",
        description="The first day, YYYY-MM-DD. The default is the loan's start date.",
        json_schema_extra=omit_default,
    ),
]
LastDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(
        alias="to",
        description="The last day, YYYY-MM-DD. The default is today in the service's time zone.",
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
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
    Field(description="The maximum number of entries per page. The default is 100.", json_schema_extra=omit_default),
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
FormatByParameter = Annotated[
    Format,
    Field(description="The format of the reply, `json` by default. `Accept` does not matter here."),
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
PayoffFlag = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="Adds `interest_uncharged` and `payoff`: the amount that settles the loan."),
]
ArrearsFlag = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="Adds `past_due` and `days_past_due`."),
]
GoodThrough = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(
        description="Adds `totals`: the total for each day after `date` through this one, at most 366 days later.",
        json_schema_extra=omit_default,
    ),
]
ProvenanceFlag = Annotated[
    bool,
    BeforeValidator(parse_bool),
    WithJsonSchema({"type": "boolean", "default": False}),
    Field(description="Adds `source_id`, `posted_by` and `memo` to each event."),
]
SourceId = Annotated[
    str | None,
    BeforeValidator(parse_source_id),
    WithJsonSchema({"type": "string", "maxLength": MAX_SOURCE_ID_CHARS, "pattern": r"\S"}),
    Field(description="Lists the event with this id of the caller.", json_schema_extra=omit_default),
]
EventType = Annotated[
    str | None,
    BeforeValidator(parse_event_type),
    WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)}),
    Field(description="Lists events of this type.", json_schema_extra=omit_default),
]
RecordedFrom = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(
        description="Lists events that were recorded at this time or later, such as 2020-07-01T00:00:00Z.",
        json_schema_extra=omit_default,
    ),
]
RecordedTo = Annotated[
    datetime | None,
    BeforeValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(
        description="Lists events that were recorded at this time or earlier, such as 2020-07-01T23:59:59Z.",
        json_schema_extra=omit_default,
    ),
]
EventsPageCursor = Annotated[
    InstanceOf[EventsCursor] | None,
    BeforeValidator(parse_events_cursor),
    WithJsonSchema(_CURSOR_SCHEMA),
    Field(
        description="The `next_cursor` of the previous page. It contains the filters and the version.",
        json_schema_extra=omit_default,
    ),
]
RecordsPageCursor = Annotated[
    InstanceOf[RecordsCursor] | None,
    BeforeValidator(parse_records_cursor),
    WithJsonSchema(_CURSOR_SCHEMA),
    Field(
        description="The `next_cursor` of the previous page. It contains the version.", json_schema_extra=omit_default
    ),
]
FirstId = Annotated[
    int | None,
    BeforeValidator(parse_loan_id),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LOAN_ID}),
    Field(description="The lowest `loan_id`.", json_schema_extra=omit_default),
]
LastId = Annotated[
    int | None,
    BeforeValidator(parse_loan_id),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_LOAN_ID}),
    Field(description="The highest `loan_id`.", json_schema_extra=omit_default),
]
CurrencyCode = Annotated[
    str | None,
    BeforeValidator(_parse_currency_code),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"}),
    Field(description="Finds loans in this currency, such as USD.", json_schema_extra=omit_default),
]
StartFrom = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(description="The earliest start date, YYYY-MM-DD.", json_schema_extra=omit_default),
]
StartTo = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(description="The latest start date, YYYY-MM-DD.", json_schema_extra=omit_default),
]
State = Annotated[
    str | None,
    BeforeValidator(parse_choice(STATES)),
    WithJsonSchema({"type": "string", "enum": list(STATES)}),
    Field(
        description="Finds loans in this state on `date`: `not_started`, `open` (the balance is above zero) or "
        "`closed` (started, and the balance is not above zero). A page then examines at most 10,000 loans, so it may "
        "be short.",
        json_schema_extra=omit_default,
    ),
]
StateDay = Annotated[
    date | None,
    BeforeValidator(parse_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(
        description="The date of the balances and states, YYYY-MM-DD. The default is today in the service's time zone.",
        json_schema_extra=omit_default,
    ),
]
EventSourceId = Annotated[
    str | None,
    BeforeValidator(parse_source_id),
    WithJsonSchema({"type": "string", "maxLength": MAX_SOURCE_ID_CHARS, "pattern": r"\S"}),
    Field(
        description="Finds loans that have an event with this id of the caller, such as the number of a receipt.",
        json_schema_extra=omit_default,
    ),
]
_AMOUNT_SCHEMA = {"type": "string", "pattern": r"^-?[0-9]{1,18}(\.[0-9]{1,4})?$"}
BalanceFrom = Annotated[
    Decimal | None,
    BeforeValidator(parse_signed_amount),
    WithJsonSchema(_AMOUNT_SCHEMA),
    Field(
        description="The lowest balance on `date`, such as 1000.00, in any currency. A page may be short, as "
        "with `state`.",
        json_schema_extra=omit_default,
    ),
]
BalanceTo = Annotated[
    Decimal | None,
    BeforeValidator(parse_signed_amount),
    WithJsonSchema(_AMOUNT_SCHEMA),
    Field(
        description="The highest balance on `date`, in any currency. A page may be short, as with `state`.",
        json_schema_extra=omit_default,
    ),
]
LoansPageCursor = Annotated[
    InstanceOf[SearchPosition] | None,
    BeforeValidator(parse_search_cursor),
    WithJsonSchema(_CURSOR_SCHEMA),
    Field(
        description="The `next_cursor` of the previous page. It contains the filters, the date and the moment of the "
        "first page.",
        json_schema_extra=omit_default,
    ),
]
