"""Terms and schedules in replies."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from native import DAY_COUNTS, PARTS
from service.domain.schedule import METHODS
from service.ledger.agreement_log import Record
from service.web.schemas.content_negotiation import json_or_csv
from service.web.schemas.headers import LOAN_HEADERS, NEXT_CSV_LINK, REPLAYED, with_headers
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, RecordedAt, Version
from service.web.schemas.replies import LoanLedgerReply

TERMS_COLUMNS = ("loan_id", *Record._fields, "rate", "day_count", "allocation", "grace_days")
SCHEDULE_COLUMNS = ("loan_id", "currency", *Record._fields, "due_date", "amt", "method", "count", "first_due_date",
                    "every_months", "end_of_month")  # fmt: skip

_VERSION: dict[str, Any] = {"example": 7}
_RECORD_EXAMPLE = "7,2020-07-01T12:00:00.000000Z,ann@example.com,agreement-7,,,,true,2020-07-01"
_TERMS_EXAMPLE = f"{','.join(TERMS_COLUMNS)}\r\n1,{_RECORD_EXAMPLE},0.10,ACT/365F,fees>interest>principal,10\r\n"
_SCHEDULE_EXAMPLE = f"{','.join(SCHEDULE_COLUMNS)}\r\n1,USD,{_RECORD_EXAMPLE},2020-08-01,500.00,,,,,\r\n"


class RecordReply(BaseModel):
    """What terms and schedules have in common."""

    version: int = Field(description="The loan's version with this record.", json_schema_extra=_VERSION)
    recorded_at: RecordedAt
    posted_by: str = Field(
        description="Who posted it: the identity in the token, or the name given to `load`.",
        json_schema_extra={"example": "ann@example.com"},
    )
    source_id: str | None = Field(
        description="The caller's own id of the record, or null.", json_schema_extra={"example": "agreement-7"}
    )
    memo: str | None = Field(
        description="Why it was posted, or null.", json_schema_extra={"example": "corrects the rate of 1 July"}
    )
    reverses: int | None = Field(
        description="The `version` of the record that it takes back, whose other members it has; or null.",
        json_schema_extra=_VERSION,
    )
    effective_date: Day = Field(description="The day from which it applies.")


class TermsReply(RecordReply):
    """Terms of a loan from a day on."""

    rate: str = Field(
        description="The rate per year, as posted: `0.10` is 10 %.", json_schema_extra={"example": "0.10"}
    )
    day_count: str = Field(
        description="How the days of a year are counted.", json_schema_extra={"enum": list(DAY_COUNTS)}
    )
    allocation: list[Literal["fees", "interest", "principal"]] = Field(
        description="What a payment pays first.", json_schema_extra={"example": list(PARTS)}
    )
    grace_days: int = Field(
        description="How many days an installment may be late before it is past due.",
        json_schema_extra={"example": 10},
    )


class InstallmentReply(BaseModel):
    """What is due on a day."""

    due_date: Day
    amt: Money


class MethodReply(BaseModel):
    """How installments were computed."""

    name: str = Field(description="The method.", json_schema_extra={"enum": list(METHODS)})
    count: int = Field(description="The number of installments.", json_schema_extra={"example": 12})
    first_due_date: Day
    every_months: int = Field(description="The number of months between due dates.", json_schema_extra={"example": 1})
    end_of_month: bool = Field(
        description="Whether each due date is the last day of its month.", json_schema_extra={"example": False}
    )


class ScheduleReply(RecordReply):
    """A schedule of a loan from a day on."""

    installments: list[InstallmentReply] = Field(description="The installments, in the order of their due dates.")
    method: MethodReply | None = Field(description="How they were computed; null if they were posted.")


class Standing(BaseModel):
    """Whether a record counts, as far as the requested version knows."""

    reversed_by: int | None = Field(
        description="The `version` of the record that takes it back, as far as the requested version knows, or null.",
        json_schema_extra=_VERSION,
    )
    applies: bool = Field(
        description="Whether it applies from its effective date on. A reversed record does not, nor does a reversal, "
        "nor one that a later record with the same effective date replaces.",
        json_schema_extra={"example": True},
    )


class RecordedTermsReply(Standing, TermsReply):
    """Terms as they were recorded."""


class RecordedScheduleReply(Standing, ScheduleReply):
    """A schedule as it was recorded."""


class PostedTermsReply(TermsReply):
    """The posted terms."""

    model_config = with_headers({**LOAN_HEADERS, **REPLAYED})

    loan_id: LoanId


class PostedScheduleReply(ScheduleReply):
    """The posted schedule."""

    model_config = with_headers({**LOAN_HEADERS, **REPLAYED})

    loan_id: LoanId
    currency: Currency


class _RecordsReply(LoanLedgerReply):
    loan_id: LoanId
    version: Version
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class TermsListReply(_RecordsReply):
    """A page of a loan's terms, in the order in which they were recorded."""

    model_config = json_or_csv(_TERMS_EXAMPLE, {**LOAN_HEADERS, **NEXT_CSV_LINK})

    terms: list[RecordedTermsReply] = Field(description="The terms of this page.")


class ScheduleListReply(_RecordsReply):
    """A page of a loan's schedules, in the order in which they were recorded."""

    model_config = json_or_csv(_SCHEDULE_EXAMPLE, {**LOAN_HEADERS, **NEXT_CSV_LINK})

    currency: Currency
    schedules: list[RecordedScheduleReply] = Field(description="The schedules of this page.")
