"""Headers and bodies of posting requests. Unknown members are rejected."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, WithJsonSchema

from service.domain.currency import MINOR_DIGITS, minor_digits
from service.domain.money import parse_amount, to_minor_units
from service.domain.parsing import EVENT_TYPES, MAX_LOAN_ID, parse_event_type
from service.errors import InvalidRequest
from service.ledger.accrued_events import MAX_ACCRUED_DATES
from service.ledger.idempotency import parse_idempotency_key
from service.ledger.posting import NewEvent, NewLoan
from service.web.schemas.body_fields import (
    AMOUNT_PATTERN,
    ID_SCHEMA,
    BodyDay,
    BodyId,
    BodyMemo,
    BodyPositiveAmount,
    BodySourceId,
    DigestForm,
    parsed_string,
)
from service.web.schemas.common import Query, omit_default
from service.web.schemas.if_match import IF_MATCH_SCHEMA, IfMatch, parse_if_match

MAX_EVENTS_PER_REQUEST = 1000
ANY_VERSION = -1
_MONEY = {"type": "string", "pattern": f"^{AMOUNT_PATTERN}", "example": "1000.00"}


def _parse_currency(text: str) -> str:
    minor_digits(text)
    return text


class PostingHeaders(Query):
    """Headers: the key that makes a posting safe to retry."""

    model_config = ConfigDict(extra="ignore")  # requests have other headers, too

    idempotency_key: Annotated[
        str,
        parsed_string(parse_idempotency_key),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}),
    ] = Field(
        default="",
        alias="Idempotency-Key",
        description="A key of the caller's choice. Requests with the same key and content are executed once and get "
        "the same reply. The key is kept for at least one day.",
        json_schema_extra=omit_default,
    )


class VersionHeaders(PostingHeaders):
    """Headers: the key, and the versions that the loan may have."""

    if_match: Annotated[
        InstanceOf[IfMatch] | None,
        parsed_string(parse_if_match),
        WithJsonSchema(IF_MATCH_SCHEMA),
    ] = Field(
        default=None,
        alias="If-Match",
        description='An ETag of a reply about this loan, such as `"2-0f1e2d3c4b5a69788796a5b4"`, a list of them, or '
        "`*`. Nothing is posted unless the loan has the version of one of them. A repeated request gets its first "
        "reply nevertheless.",
        json_schema_extra=omit_default,
    )


class EventBody(BaseModel):
    """An event to post."""

    model_config = ConfigDict(extra="forbid")

    event_type: Annotated[
        str, parsed_string(parse_event_type), WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})
    ]
    post_date: BodyDay = Field(description="The date from which the event counts, YYYY-MM-DD.")
    amt: BodyPositiveAmount = Field(
        description="The amount: above zero, with at most as many decimals as the currency has. A payment lowers the "
        "balance."
    )
    source_id: BodySourceId = Field(
        default="",
        description="The caller's own id of the event: printable characters, unique per loan.",
        json_schema_extra=omit_default,
    )
    reverses: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)] = Field(
        default=0,
        description="The `tx_id` of the event that this one reverses. It must have the same type and amount, must not "
        "be dated later than this one, and can be reversed once.",
        json_schema_extra=omit_default,
    )
    memo: BodyMemo = Field(
        default="",
        description="Why the event is posted: text without control characters that a spreadsheet does not take for a "
        "formula.",
        json_schema_extra=omit_default,
    )

    def to_event(self) -> NewEvent:
        """Convert the body to an event of the ledger."""
        return NewEvent(
            self.event_type,
            self.post_date,
            self.amt,
            self.source_id or None,
            self.reverses or None,
            self.memo or None,
        )


class ExpectingBody(BaseModel):
    """A body that may state the version that the loan must have."""

    expected_version: Annotated[
        int,
        Field(strict=True, ge=0, le=MAX_LOAN_ID),
        WithJsonSchema({"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_LOAN_ID}),
    ] = Field(
        default=ANY_VERSION,
        description="The version that the loan must have: nothing is posted to another one. A repeated request gets "
        "its first reply nevertheless.",
        json_schema_extra=omit_default,
    )


class EventsBody(ExpectingBody):
    """Events of one loan. All of them are posted, or none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"events": [{"event_type": "payment", "post_date": "2020-07-01", "amt": "110.50"}]}
        },
    )

    events: list[EventBody] = Field(min_length=1, max_length=MAX_EVENTS_PER_REQUEST)
    accrue: bool = Field(
        default=False,
        strict=True,
        description="Whether to charge what has accrued before the first payment of each date, as an event of this "
        f"request. Payments may have at most {MAX_ACCRUED_DATES} dates, at the latest today.",
        json_schema_extra=omit_default,
    )

    def to_events(self) -> list[NewEvent]:
        """Convert the body to events of the ledger.

        Raises:
            InvalidRequest: If two events have the same `source_id` or reverse the same event.
        """
        events = [body.to_event() for body in self.events]
        errors = []
        for field in ("source_id", "reverses"):
            seen: set[object] = set()
            for number, value in enumerate(getattr(event, field) for event in events):
                if value is not None and value in seen:
                    errors.append((f"events.{number}.{field}", "duplicate value"))
                seen.add(value)
        if errors:
            raise InvalidRequest(errors)
        return events


class AccrualBody(ExpectingBody):
    """The day by which interest has accrued."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"date": "2020-07-31"}})

    date: BodyDay = Field(description="The day, at the latest today, YYYY-MM-DD. The interest is dated that day.")


class LoanBody(BaseModel):
    """The terms of a loan to create."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"loan_id": 1001, "start_date": "2020-07-01", "initial_amt": "1000.00", "currency": "USD"}
        },
    )

    loan_id: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)]
    start_date: BodyDay
    initial_amt: Annotated[
        Decimal, parsed_string(parse_amount), DigestForm, WithJsonSchema(_MONEY, mode="validation")
    ] = Field(description="The principal, with at most as many decimals as the currency has.")
    currency: Annotated[
        str, parsed_string(_parse_currency), WithJsonSchema({"type": "string", "enum": sorted(MINOR_DIGITS)})
    ] = Field(default="USD", description="An ISO 4217 currency that has a minor unit.")

    def to_loan(self) -> NewLoan:
        """Convert the body to a loan of the ledger.

        Raises:
            InvalidRequest: If the amount has more decimals than the currency, or is too large.
        """
        try:
            to_minor_units(self.initial_amt, minor_digits(self.currency))
        except ValueError as err:
            raise InvalidRequest([("initial_amt", f"{err} ({self.currency})")]) from None
        return NewLoan(self.loan_id, self.start_date, self.initial_amt, self.currency)
